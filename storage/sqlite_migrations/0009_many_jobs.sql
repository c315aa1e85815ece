-- oldest-program: 1
-- What is due is found without looking at everything that is planned.
CREATE INDEX jobs_free ON jobs (due_at) WHERE lease_until = 0;
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE lease_until > 0;
CREATE INDEX codes_over ON codes (expires_at);
