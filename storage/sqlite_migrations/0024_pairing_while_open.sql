-- oldest-program: 1
-- A pairing code is looked for while its request is pending. With those of all the others in the index, each new request had a page of its own to write there,
-- and each that is purged another one.
CREATE INDEX requests_pairing_open ON requests (pairing_code) WHERE status = 'pending';
DROP INDEX requests_pairing;
