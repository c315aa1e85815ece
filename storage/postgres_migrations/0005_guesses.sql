-- oldest-program: 1
-- Writes down how guesses were judged without a lock (storage/postgres_ahead.py): each one as long as nothing has changed
-- that it was judged by, and nobody holds it. Never waits for whoever holds it, so that none of them waits for another.
-- Tells which were written, and the messages of codes that ended. Changed only under another name: older replicas use it.
CREATE FUNCTION write_guesses(
    the_projects TEXT[],
    the_subscribers TEXT[],
    wrong_before INTEGER[],
    wrong_after INTEGER[],
    the_codes TEXT[],
    attempts_before INTEGER[],
    the_endings TEXT[],
    the_requests TEXT[],
    the_time BIGINT,
    own_time BOOLEAN
) RETURNS TABLE (nth INTEGER, messages_over TEXT[]) LANGUAGE plpgsql AS $$
DECLARE
    locked_at BIGINT;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN;  -- what follows relies on seeing what others committed meanwhile
    END IF;
    FOR n IN 1 .. cardinality(the_codes) LOOP
        CONTINUE WHEN NOT pg_try_advisory_xact_lock_shared(hashtextextended(the_projects[n], 1));
        PERFORM 1 FROM projects p WHERE p.id = the_projects[n] AND p.enabled = 1 AND p.deleted = 0
            FOR KEY SHARE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        IF the_requests[n] IS NOT NULL THEN
            PERFORM 1 FROM requests r WHERE r.id = the_requests[n] FOR UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
        END IF;
        PERFORM 1 FROM subscribers s WHERE s.id = the_subscribers[n] AND s.wrong_guesses = wrong_before[n] AND s.locked = 0
            FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        -- Each statement from here on sees all that was committed before the locks were got.
        locked_at := greatest(the_time, CASE WHEN own_time THEN (extract(epoch FROM clock_timestamp()) * 1000)::bigint END);
        messages_over := '{}';
        IF the_endings[n] IS NULL THEN
            UPDATE codes c SET attempts = c.attempts + 1
                WHERE c.id = the_codes[n] AND c.attempts = attempts_before[n] AND c.expires_at > locked_at;
            CONTINUE WHEN NOT FOUND;
        ELSE
            DELETE FROM codes c
                WHERE c.id = the_codes[n] AND c.attempts = attempts_before[n] AND c.expires_at > locked_at;
            CONTINUE WHEN NOT FOUND;
            WITH ended_messages AS (
                UPDATE messages m SET ended = the_endings[n] WHERE m.code_id = the_codes[n] AND m.ended IS NULL RETURNING m.id
            ), told AS (
                INSERT INTO jobs (kind, subject, due_at, attempts, lease_until, owner, payload)
                    SELECT 'close', e.id, locked_at, 0, 0, '', '' FROM ended_messages e
                    ON CONFLICT (kind, subject) DO UPDATE SET due_at = excluded.due_at
                    WHERE jobs.due_at > excluded.due_at OR jobs.lease_until > excluded.due_at
            )
            SELECT coalesce(array_agg(e.id), '{}') INTO messages_over FROM ended_messages e;
        END IF;
        IF wrong_after[n] <> wrong_before[n] THEN
            UPDATE subscribers s SET wrong_guesses = wrong_after[n] WHERE s.id = the_subscribers[n];
        END IF;
        IF the_requests[n] IS NOT NULL THEN
            UPDATE requests r SET verified_at = locked_at WHERE r.id = the_requests[n];
        END IF;
        nth := n;
        RETURN NEXT;
    END LOOP;
END
$$;
