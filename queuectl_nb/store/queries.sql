-- Every statement on a hot path, by name. Plans are checked by tests/store/test_query_plans.py: none may scan a large table.
-- `rev` is the revision of the current transaction: (SELECT rev FROM clock).
-- (VALUES :rows) is replaced by as many rows as there are: see batch_sql.py.

-- ---------------------------------------------------------------- identity

-- name: identity
SELECT inode, born FROM identity;

-- name: set_identity
INSERT OR REPLACE INTO identity (only_row, id, inode, born) VALUES (1, ?, ?, ?);

-- name: held_leases
-- The leases of all workers; few rows are 'processing', whatever the number of jobs.
SELECT seq, id, starts, token FROM jobs WHERE state = 'processing';

-- name: remove_all_workers
DELETE FROM workers;

-- ---------------------------------------------------------------- enqueue

-- name: last_seq
-- The highest seq ever used. AUTOINCREMENT never reuses one, so generated ids are not reused either.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0);

-- name: keep_environment
INSERT INTO environments (body) VALUES (:body) ON CONFLICT (body) DO NOTHING;

-- name: environment_id
SELECT id FROM environments WHERE body = :body;

-- name: job_by_id
SELECT
    seq, id, command, state, priority, attempts, max_retries, timeout, queue, tags, after, cwd, run_at, created_at,
    updated_at, started_at, finished_at, exit_code, error, worker, result, kind, key, progress, metrics, result_repr, rev,
    shell
FROM jobs WHERE id = :id;

-- name: finished_job
-- As job_by_id, for a process that waits for the job.
SELECT
    seq, id, command, state, priority, attempts, max_retries, timeout, queue, tags, after, cwd, run_at, created_at,
    updated_at, started_at, finished_at, exit_code, error, worker, result, kind, key, progress, metrics, result_repr, rev,
    shell
FROM jobs WHERE id = :id AND state IN ('completed', 'dead', 'cancelled');

-- name: keep_payload
INSERT INTO payloads (job, body) VALUES (?, ?) ON CONFLICT (job) DO UPDATE SET body = excluded.body;

-- name: forget_payload_blobs
-- Of jobs that get new payloads: the blobs that only the old ones need, and not values.
DELETE FROM job_blobs WHERE job IN (SELECT value FROM json_each(:seqs)) AND NOT EXISTS (
    SELECT 1 FROM job_values WHERE job_values.job = job_blobs.job AND job_values.sha256 = job_blobs.sha256
);

-- name: keep_blob
INSERT INTO blobs (sha256, size, body) VALUES (?, ?, ?) ON CONFLICT (sha256) DO NOTHING;

-- name: use_blob
INSERT INTO job_blobs (job, sha256) VALUES (?, ?) ON CONFLICT (job, sha256) DO NOTHING;

-- name: blob_files
SELECT sha256 FROM blobs WHERE body IS NULL;

-- name: set_blob_body
UPDATE blobs SET body = :body WHERE sha256 = :name;

-- name: oldest_python_start
-- The files of values that were written since then may belong to attempts that have not been recorded yet.
SELECT min(started_at) FROM jobs WHERE state = 'processing' AND kind <> 'command';

-- name: known_blobs
SELECT sha256 FROM blobs WHERE sha256 IN (SELECT value FROM json_each(:names));

-- ---------------------------------------------------------------- claim

-- name: promote_due
-- Scheduled jobs become ready when due. At most 1000 per transaction, so that the write lock is not held long.
-- A job whose delay has ended after the clock was set back was due now, not in the future.
UPDATE jobs SET ready = 1, run_at = min(run_at, :now) WHERE seq IN (
    SELECT seq FROM (
        SELECT seq FROM jobs INDEXED BY jobs_scheduled
        WHERE ready = 0 AND state IN ('pending', 'failed') AND due_boottime IS NULL AND run_at <= :now
        ORDER BY run_at LIMIT 500
    )
    UNION ALL
    SELECT seq FROM (
        SELECT seq FROM jobs INDEXED BY jobs_delayed
        WHERE ready = 0 AND state IN ('pending', 'failed') AND due_boottime IS NOT NULL AND due_boottime <= :boottime
        ORDER BY due_boottime LIMIT 500
    )
);

-- name: next_due
-- When an idle worker must wake up, by either clock; for a time edited by hand that is none (1e300, text), never.
SELECT (
    SELECT run_at FROM jobs INDEXED BY jobs_scheduled
    WHERE ready = 0 AND state IN ('pending', 'failed') AND due_boottime IS NULL AND run_at < 253402300800
    ORDER BY run_at LIMIT 1
), (
    SELECT due_boottime FROM jobs INDEXED BY jobs_delayed
    WHERE ready = 0 AND state IN ('pending', 'failed') AND due_boottime IS NOT NULL AND due_boottime < 253402300800
    ORDER BY due_boottime LIMIT 1
);

-- name: boot
SELECT boot FROM clock;

-- name: record_boot
UPDATE clock SET boot = :boot;

-- name: forget_boottimes
-- Once per boot: reads all waiting jobs.
UPDATE jobs SET due_boottime = NULL WHERE state IN ('pending', 'failed', 'blocked') AND due_boottime IS NOT NULL;

-- name: queues_with_work
-- Unpaused queues that may have ready jobs, and how many more of them may run, NULL for any number; few rows, whatever
-- the number of jobs.
SELECT queue, sum(n), (
    SELECT limits.n - coalesce((SELECT n FROM tally WHERE queue = limits.queue AND state = 'processing'), 0)
    FROM limits WHERE limits.queue = tally.queue
) FROM tally
WHERE state IN ('pending', 'failed') AND n > 0
    AND NOT EXISTS (SELECT 1 FROM queues WHERE name = '*')
    AND NOT EXISTS (SELECT 1 FROM queues WHERE name = tally.queue)
GROUP BY queue;

-- name: ready_in_queue
-- The next ready jobs of one queue: the first entries of the index jobs_ready.
SELECT
    seq, id, starts + 1, command, cwd, queue, priority, attempts + 1, max_retries, timeout, shell, kind,
    env, environment
FROM jobs WHERE ready = 1 AND queue = :queue ORDER BY priority DESC, seq LIMIT :limit;

-- name: environments_of_claimed
-- The recorded environments of claimed jobs; most jobs share one, which is read once.
SELECT id, body FROM environments WHERE id IN (SELECT value FROM json_each(:ids));

-- name: payload
SELECT body FROM payloads WHERE job = :seq;

-- name: returned_calls
SELECT call FROM job_values WHERE job = :seq AND raised = 0;

-- name: blobs_of_job
SELECT blobs.sha256, body FROM job_blobs JOIN blobs ON blobs.sha256 = job_blobs.sha256 WHERE job = :seq;

-- name: result_of_job
SELECT kind, result, (SELECT body ->> '$.chunk' FROM payloads WHERE job = jobs.seq) FROM jobs WHERE id = :id;

-- name: executed_notebook
SELECT token, body ->> '$.notebook.name' FROM attempts JOIN payloads ON payloads.job = attempts.job
WHERE attempts.job = (SELECT seq FROM jobs WHERE id = :id) ORDER BY number DESC LIMIT 1;

-- name: count_calls
SELECT coalesce(json_array_length(body, '$.calls'), 1), body ->> '$.chunk' FROM payloads
WHERE job = (SELECT seq FROM jobs WHERE id = :id);

-- name: values_of_job
-- What was raised is of interest only if it was in the latest attempt. The last column is the name of the file if the
-- pickle is in one; in a backup, none is.
SELECT call, raised, coalesce(job_values.body, blobs.body), iif(blobs.body IS NULL, job_values.sha256, NULL), note
FROM jobs JOIN job_values ON job = seq LEFT JOIN blobs ON blobs.sha256 = job_values.sha256
WHERE id = :id AND call >= 0 AND name IS NULL AND (raised = 0 OR attempt = starts) ORDER BY call;

-- name: variables_of_job
-- What the latest attempt of a cell assigned, if it could say so.
SELECT name, type, size, note FROM job_values JOIN jobs ON jobs.seq = job
WHERE id = :id AND name IS NOT NULL AND attempt = starts ORDER BY call;

-- name: variable_of_job
SELECT call, raised, coalesce(job_values.body, blobs.body), iif(blobs.body IS NULL, job_values.sha256, NULL), note
FROM jobs JOIN job_values ON job = seq LEFT JOIN blobs ON blobs.sha256 = job_values.sha256
WHERE id = :id AND name = :name AND attempt = starts;

-- name: inputs_of_job
SELECT body ->> '$.shown' FROM payloads WHERE job = (SELECT seq FROM jobs WHERE id = :id);

-- name: displays_of_job
SELECT call, raised, coalesce(job_values.body, blobs.body), iif(blobs.body IS NULL, job_values.sha256, NULL), note
FROM jobs JOIN job_values ON job = seq LEFT JOIN blobs ON blobs.sha256 = job_values.sha256
WHERE id = :id AND call = -1 AND attempt = starts;

-- name: forget_values
-- A completed job that runs again calls everything again; of others, calls that have returned are not repeated.
DELETE FROM job_values
WHERE job IN (SELECT seq FROM jobs WHERE seq IN (SELECT value FROM json_each(:seqs)) AND state = 'completed');

-- name: ready_count
-- How many jobs could start now, counted up to a limit, for a dispatcher that requests slots.
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE ready = 1 AND queue = :queue LIMIT :limit);

-- name: due_count
-- How many due jobs are not promoted yet, counted up to a limit.
SELECT count(*) FROM (
    SELECT 1 FROM jobs INDEXED BY jobs_scheduled
    WHERE ready = 0 AND state IN ('pending', 'failed') AND due_boottime IS NULL AND run_at <= :now
    UNION ALL
    SELECT 1 FROM jobs INDEXED BY jobs_delayed
    WHERE ready = 0 AND state IN ('pending', 'failed') AND due_boottime IS NOT NULL AND due_boottime <= :boottime
    LIMIT :limit
);

-- name: best_ready_priority
-- To detect jobs of a higher priority than those a worker has prefetched.
SELECT priority FROM jobs WHERE ready = 1 AND queue = :queue ORDER BY priority DESC, seq LIMIT 1;

-- name: open_attempt
-- Before claim_job, which overwrites the state of the job.
WITH v (token, worker, host, started_at, seq) AS (VALUES :rows)
INSERT INTO attempts (job, number, token, worker, host, due_at, started_at, undo)
SELECT
    jobs.seq, jobs.starts + 1, v.token, v.worker, v.host, jobs.run_at, v.started_at,
    CASE WHEN jobs.state = 'failed' THEN 2 WHEN jobs.worker IS NOT NULL THEN 1 ELSE 0 END
FROM v CROSS JOIN jobs ON jobs.seq = v.seq;

-- name: claim_job
WITH v (token, worker, host, started_at, seq) AS (VALUES :rows)
UPDATE jobs SET
    state = 'processing', ready = 0, attempts = attempts + 1, starts = starts + 1, token = v.token,
    worker = v.worker, started_at = v.started_at, updated_at = v.started_at,
    finished_at = NULL, exit_code = NULL, error = NULL, error_key = NULL, result = NULL, result_repr = NULL,
    progress = NULL, metrics = NULL, rev = (SELECT rev FROM clock)
FROM v WHERE jobs.seq = v.seq;

-- name: attempt_is_running
-- Recorded for attempts longer than a few milliseconds: pid, start time, and the host if it is not the worker's.
UPDATE attempts SET pid = :pid, started_at = :started_at, host = coalesce(:host, host)
WHERE job = :seq AND number = :number AND token = :token AND outcome IS NULL;

-- name: job_is_running
UPDATE jobs SET started_at = :started_at, rev = (SELECT rev FROM clock) WHERE seq = :seq AND token = :token;

-- name: still_valid
-- Prefetched leases that may start: not cancelled, not lost, and their queue is not paused.
SELECT token FROM jobs WHERE seq IN (SELECT value FROM json_each(:seqs)) AND cancel = 0 AND token IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM queues WHERE name = '*')
    AND NOT EXISTS (SELECT 1 FROM queues WHERE name = jobs.queue);

-- name: ended_as
SELECT 1 FROM attempts WHERE job = ? AND outcome = ? AND error = ? LIMIT 1;

-- name: cancels_of_worker
SELECT seq, token FROM jobs WHERE cancel = 1 AND worker = :worker;

-- ---------------------------------------------------------------- settle

-- name: held_job
-- Facts for the transition of a job; no row means that the lease was lost and the result comes too late.
SELECT attempts, max_retries, cancel FROM jobs WHERE seq = ? AND state = 'processing' AND token = ?;

-- name: held_jobs
-- The same for many jobs, to be matched by token.
SELECT token, attempts, max_retries, cancel FROM jobs
WHERE seq IN (SELECT value FROM json_each(?)) AND state = 'processing';

-- name: settle_job
-- The columns of v are the keys of settle.job_update.
WITH v (
    seq, token, state, ready, attempts, run_at, due_boottime, updated_at, started_at, finished_at, exit_code, error,
    error_key, result, result_repr
) AS (VALUES :rows)
UPDATE jobs SET
    state = v.state, ready = v.ready, attempts = v.attempts, token = NULL, cancel = 0,
    run_at = coalesce(v.run_at, jobs.run_at), due_boottime = v.due_boottime, updated_at = v.updated_at,
    started_at = coalesce(v.started_at, jobs.started_at), finished_at = v.finished_at,
    exit_code = v.exit_code, error = v.error, error_key = v.error_key, result = v.result, result_repr = v.result_repr,
    rev = (SELECT rev FROM clock)
FROM v WHERE jobs.seq = v.seq AND jobs.state = 'processing' AND jobs.token = v.token;

-- name: close_attempt
-- The columns of v are the keys of settle.attempt_update.
WITH v (
    seq, number, token, outcome, exit_code, signal, error, reason, error_key, started_at, finished_at, pid, host,
    user_cpu_s, system_cpu_s, max_rss_bytes, stdout, stdout_tail, stdout_size, stderr, stderr_tail, stderr_size
) AS (VALUES :rows)
UPDATE attempts SET
    finished_at = v.finished_at, started_at = coalesce(v.started_at, attempts.started_at),
    pid = coalesce(v.pid, attempts.pid), host = coalesce(v.host, attempts.host),
    outcome = v.outcome, exit_code = v.exit_code, signal = v.signal, error = v.error, reason = v.reason,
    error_key = v.error_key,
    user_cpu_s = v.user_cpu_s, system_cpu_s = v.system_cpu_s, max_rss_bytes = v.max_rss_bytes,
    stdout_size = v.stdout_size, stderr_size = v.stderr_size,
    stdout = v.stdout, stdout_tail = v.stdout_tail, stderr = v.stderr, stderr_tail = v.stderr_tail
FROM v
WHERE attempts.job = v.seq AND attempts.number = v.number AND attempts.token = v.token AND attempts.outcome IS NULL;

-- name: store_streams
-- Large output of an attempt, after close_attempt, whose rows SQLite copies before it writes them.
UPDATE attempts SET stdout = :stdout, stdout_tail = :stdout_tail, stderr = :stderr, stderr_tail = :stderr_tail
WHERE job = :seq AND number = :number AND token = :token;

-- name: held_claim
-- As held_job, with the state of the job before the claim.
SELECT jobs.attempts, cancel, undo FROM jobs JOIN attempts ON attempts.job = jobs.seq AND attempts.number = jobs.starts
WHERE jobs.seq = :seq AND state = 'processing' AND jobs.token = :token;

-- name: release_job
-- Claimed and never started: restores the job as it was, including the facts of its previous attempt.
UPDATE jobs SET
    state = :state, ready = 1, attempts = :attempts, starts = starts - 1, token = NULL, cancel = 0, updated_at = :now,
    (started_at, finished_at, exit_code, error, error_key, worker) = (
        SELECT
            started_at, finished_at, exit_code, CASE outcome WHEN 'returned' THEN NULL ELSE error END,
            CASE :state WHEN 'failed' THEN error_key END, worker
        FROM attempts WHERE job = jobs.seq AND number = jobs.starts - 1 AND :restore
    ),
    rev = (SELECT rev FROM clock)
WHERE seq = :seq AND state = 'processing' AND token = :token;

-- name: keep_value
INSERT OR REPLACE INTO job_values (job, attempt, call, raised, body, sha256, size, name, type, note)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: keep_metrics
INSERT OR REPLACE INTO attempt_metrics (job, number, invalid, complete, points) VALUES (?, ?, ?, ?, ?);

-- name: set_last_metrics
UPDATE jobs SET progress = ?, metrics = ? WHERE seq = ?;

-- name: keep_artifacts
INSERT OR REPLACE INTO attempt_artifacts (job, number, token, files, size, note) VALUES (?, ?, ?, ?, ?, ?);

-- name: artifact_attempts
-- Attempts that may have artifacts, the newest first, with the name of their folder: those that have some recorded, and
-- a running one, whose folder is its worker's.
SELECT attempts.number, iif(outcome IS NULL, attempts.worker, attempts.token), attempt_artifacts.note
FROM jobs JOIN attempts ON attempts.job = jobs.seq
LEFT JOIN attempt_artifacts ON attempt_artifacts.job = jobs.seq AND attempt_artifacts.number = attempts.number
WHERE jobs.id = :id AND (attempt_artifacts.token IS NOT NULL OR (outcome IS NULL AND attempts.pid IS NOT NULL))
ORDER BY attempts.number DESC;

-- name: known_artifacts
SELECT token FROM attempt_artifacts WHERE token IN (SELECT value FROM json_each(:tokens)) AND files > 0
UNION ALL
SELECT token FROM jobs WHERE state = 'processing'
UNION ALL
SELECT name FROM workers;

-- name: count_artifacts
SELECT count(*), coalesce(sum(files), 0), coalesce(sum(size), 0) FROM attempt_artifacts WHERE files > 0;

-- name: running_tokens
SELECT id, token, started_at FROM jobs WHERE state = 'processing';

-- name: metrics_of_jobs
-- Of running attempts the points are not here but in a file.
SELECT jobs.id, attempts.number, attempts.token, attempts.started_at, outcome IS NULL, invalid, complete, points
FROM jobs JOIN attempts ON attempts.job = jobs.seq
LEFT JOIN attempt_metrics ON attempt_metrics.job = jobs.seq AND attempt_metrics.number = attempts.number
WHERE jobs.id IN (SELECT value FROM json_each(:ids)) AND (points IS NOT NULL OR outcome IS NULL)
ORDER BY jobs.seq, attempts.number;

-- name: latest_points
SELECT attempts.token, attempts.started_at, outcome IS NULL, points
FROM jobs JOIN attempts ON attempts.job = jobs.seq AND attempts.number = jobs.starts
LEFT JOIN attempt_metrics ON attempt_metrics.job = jobs.seq AND attempt_metrics.number = jobs.starts
WHERE jobs.id = :id;

-- name: jobs_with_metrics
SELECT id FROM jobs WHERE state = 'processing' OR seq IN (SELECT job FROM attempt_metrics);

-- name: delete_attempt
DELETE FROM attempts WHERE job = :seq AND number = :number AND token = :token;

-- name: count_done
UPDATE workers SET jobs_done = jobs_done + :n WHERE name = :worker;

-- ---------------------------------------------------------------- dependencies

-- name: any_dependents
-- Most queues have none: one query then replaces one per job.
SELECT 1 FROM dependents LIMIT 1;

-- name: blocked_dependents
SELECT jobs.seq, jobs.id, any_end FROM dependents JOIN jobs ON jobs.seq = dependents.job
WHERE dependents.other = :seq AND jobs.state = 'blocked';

-- name: unmet_dependencies
SELECT other.id, other.state FROM dependents JOIN jobs AS other ON other.seq = dependents.other
WHERE dependents.job = :seq AND other.state <> 'completed' AND NOT (any_end AND other.state IN ('dead', 'cancelled'));

-- name: blocked_job
SELECT id FROM jobs WHERE seq = :seq AND state = 'blocked';

-- name: any_end_of
-- The jobs of which any end will do for a job, deleted ones included.
SELECT value FROM jobs, json_each(after_any) WHERE jobs.id = :id;

-- name: recent_tags
SELECT DISTINCT value FROM jobs, json_each(jobs.tags) WHERE seq > (SELECT max(seq) FROM jobs) - :limit ORDER BY value;

-- name: unblock_jobs
-- Those that wait for no other job.
UPDATE jobs SET
    state = 'pending', ready = coalesce(due_boottime <= :boottime, run_at <= :now),
    run_at = CASE WHEN due_boottime <= :boottime THEN :now ELSE max(run_at, :now) END, updated_at = :now,
    rev = (SELECT rev FROM clock)
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND state = 'blocked' AND NOT EXISTS (
    SELECT 1 FROM dependents JOIN jobs AS other ON other.seq = dependents.other
    WHERE dependents.job = jobs.seq AND other.state <> 'completed'
        AND NOT (any_end AND other.state IN ('dead', 'cancelled'))
);

-- name: cancel_waiting
-- Jobs that no worker holds are cancelled at once.
UPDATE jobs SET
    state = 'cancelled', ready = 0, error = :error, error_key = NULL, updated_at = :now, finished_at = :now,
    rev = (SELECT rev FROM clock)
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND state IN ('pending', 'failed', 'blocked');

-- name: cancel_running
UPDATE jobs SET cancel = 1, updated_at = :now, rev = (SELECT rev FROM clock)
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND state = 'processing';

-- ---------------------------------------------------------------- operations on jobs

-- name: jobs_by_id
SELECT seq, id, state, worker, after <> '[]' FROM jobs WHERE id IN (SELECT value FROM json_each(:ids));

-- name: editable_job
SELECT
    seq, id, state, kind, key, work, cwd, env, attempts, worker, command, priority, timeout, max_retries, queue, tags, after,
    run_at, due_boottime
FROM jobs WHERE id = :id;

-- name: edit_job
UPDATE jobs SET
    command = :command, priority = :priority, timeout = :timeout, max_retries = :max_retries, queue = :queue,
    tags = :tags, after = :after, after_any = :after_any, run_at = :run_at, due_boottime = :due_boottime, key = :key,
    work = :work, state = :state, error_key = CASE :state WHEN 'failed' THEN error_key END,
    ready = CASE
        WHEN :state NOT IN ('pending', 'failed') THEN 0
        WHEN :retimed THEN coalesce(:due_boottime <= :boottime, :run_at <= :now)
        ELSE ready
    END,
    updated_at = :now, rev = (SELECT rev FROM clock)
WHERE seq = :seq;

-- name: any_dependency_on
-- Whether job :seq is among :others or the jobs that these wait for, directly or not.
WITH RECURSIVE earlier (seq) AS (
    SELECT value FROM json_each(:others)
    UNION
    SELECT other FROM earlier JOIN dependents ON dependents.job = earlier.seq
)
SELECT 1 FROM earlier WHERE seq = :seq;

-- name: forget_dependencies
DELETE FROM dependents WHERE job = :seq;

-- name: add_dependency
INSERT INTO dependents (other, job, any_end) VALUES (:other, :seq, :any_end);

-- name: job_with_key
SELECT id FROM jobs WHERE key = :key AND seq <> :seq;

-- name: keep_edit
INSERT INTO edits (job, at, changes) VALUES (:seq, :now, :changes);

-- name: edits_of_job
SELECT at, changes FROM edits WHERE job = (SELECT seq FROM jobs WHERE id = :id) ORDER BY edits.rowid;

-- name: held_timeout
-- The timeout of an attempt that the worker still holds; it may have been edited.
SELECT timeout FROM jobs WHERE seq = :seq AND state = 'processing' AND token = :token;

-- name: jobs_by_key
-- In the order of the keys, which is usually that of the jobs in the file: two thirds of the time of IN.
SELECT jobs.key, work, seq, jobs.id, state, worker, after <> '[]'
FROM json_each(:keys) AS wanted CROSS JOIN jobs ON jobs.key = wanted.value;

-- name: keyed_jobs_since
-- All states, so that the index is used.
SELECT key, work, seq, id, state, worker, after <> '[]' FROM jobs
WHERE state IN ('pending', 'processing', 'completed', 'failed', 'dead', 'cancelled', 'blocked') AND rev > :rev
    AND key IS NOT NULL;

-- name: renew_jobs
-- Retried by an enqueue of the same work, with its options.
UPDATE jobs SET priority = ?, queue = ?, timeout = ?, max_retries = ?, shell = ?,
    environment = (SELECT id FROM environments WHERE body = ?)
WHERE seq IN (SELECT value FROM json_each(?));

-- name: add_tags
-- Kept by an enqueue of the same work. Those who wait for a job must not take this for its end, so rev is unchanged.
UPDATE jobs SET tags = (
    SELECT replace(json_group_array(value), '","', '", "')
    FROM (SELECT value FROM json_each(tags) UNION SELECT value FROM json_each(:tags))
) WHERE seq IN (SELECT value FROM json_each(:seqs))
    AND EXISTS (SELECT value FROM json_each(:tags) EXCEPT SELECT value FROM json_each(jobs.tags));

-- name: any_key_between
SELECT 1 FROM jobs WHERE key > :from AND key < :until LIMIT 1;

-- name: similar_ids
-- Candidates for a misspelt id: the newest jobs, and some that begin as it does.
SELECT id FROM jobs NOT INDEXED WHERE seq > (SELECT max(seq) FROM jobs) - 300
UNION
SELECT id FROM (SELECT id FROM jobs WHERE id >= :start AND id < :start || char(1114111) ORDER BY id LIMIT 300);

-- name: newest_job
SELECT id FROM jobs WHERE seq = (SELECT max(seq) FROM jobs);

-- name: states_of_jobs
SELECT id, state, seq FROM jobs WHERE id IN (SELECT value FROM json_each(:ids));

-- name: revisions_of_jobs
SELECT id, rev FROM jobs WHERE id IN (SELECT value FROM json_each(:ids));

-- name: retry_jobs
-- Finished jobs get a full retry budget; a failed job keeps its used attempts, unless :fresh, and skips the backoff.
-- A blocked one is due at once when it is unblocked, even if the clock is set back until then.
UPDATE jobs SET
    state = :state, ready = (:state = 'pending'), attempts = CASE WHEN state = 'failed' AND NOT :fresh THEN attempts ELSE 0 END,
    run_at = :now, due_boottime = CASE :state WHEN 'blocked' THEN 0 END, updated_at = :now, started_at = NULL, finished_at = NULL, exit_code = NULL, error = NULL,
    error_key = NULL, worker = NULL, result = NULL, result_repr = NULL, progress = NULL, metrics = NULL, rev = (SELECT rev FROM clock)
WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: blocked_by
-- Jobs blocked by uncompleted jobs that are about to be deleted.
SELECT other.id, waiting.seq, waiting.id, any_end FROM dependents
JOIN jobs AS other ON other.seq = dependents.other AND other.state <> 'completed'
JOIN jobs AS waiting ON waiting.seq = dependents.job AND waiting.state = 'blocked'
WHERE dependents.other IN (SELECT value FROM json_each(:seqs));

-- name: delete_jobs
DELETE FROM jobs WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: tokens_of_jobs
SELECT token FROM attempts WHERE job IN (SELECT value FROM json_each(:seqs));

-- name: oldest_finished
-- Pruning starts with the longest unchanged jobs, until a batch contains none that is old enough. Jobs on which
-- unfinished ones depend stay: these may need their values.
SELECT seq, updated_at FROM jobs
WHERE state = :state AND NOT EXISTS (
    SELECT 1 FROM dependents JOIN jobs AS later ON later.seq = dependents.job
    WHERE dependents.other = jobs.seq AND later.state IN ('pending', 'processing', 'failed', 'blocked')
)
ORDER BY rev LIMIT :limit;

-- name: count_old
SELECT count(*) FROM jobs
WHERE state = :state AND updated_at <= :before AND NOT EXISTS (
    SELECT 1 FROM dependents JOIN jobs AS later ON later.seq = dependents.job
    WHERE dependents.other = jobs.seq AND later.state IN ('pending', 'processing', 'failed', 'blocked')
);

-- ---------------------------------------------------------------- maintenance

-- name: file_space
-- auto_vacuum 2: incremental.
SELECT page_size, page_count, freelist_count, auto_vacuum = 2
FROM pragma_page_size, pragma_page_count, pragma_freelist_count, pragma_auto_vacuum;

-- name: attempts_since
-- The first attempt that ended since a time, the last one that was claimed, and when the oldest one ended.
SELECT rowid, finished_at, (SELECT max(rowid) FROM attempts),
    (SELECT finished_at FROM attempts WHERE finished_at IS NOT NULL ORDER BY finished_at LIMIT 1)
FROM attempts WHERE finished_at >= :since ORDER BY finished_at LIMIT 1;

-- name: sampled_output
-- What every step-th attempt keeps: its row, and of each stream the ends in the database and, of a long one, a file.
WITH RECURSIVE sampled (row) AS (
    VALUES (:first)
    UNION ALL
    SELECT row + :step FROM sampled WHERE row + :step <= :last
)
SELECT sum(
    :row_bytes + min(stdout_size, :output_limit) + min(stderr_size, :output_limit)
    + CASE WHEN stdout_size > :output_limit THEN min(stdout_size, :spool_limit) ELSE 0 END
    + CASE WHEN stderr_size > :output_limit THEN min(stderr_size, :spool_limit) ELSE 0 END
) FROM sampled CROSS JOIN attempts ON attempts.rowid = sampled.row
WHERE finished_at IS NULL OR finished_at >= :since;

-- name: any_ready
SELECT 1 FROM jobs INDEXED BY jobs_ready WHERE ready = 1 LIMIT 1;

-- ---------------------------------------------------------------- read

-- name: counts
SELECT state, sum(n) FROM tally GROUP BY state;

-- name: counts_of_queue
-- Upper bound of the jobs that a search through a state can find in a queue.
SELECT state, n FROM tally WHERE queue = :queue AND n > 0;

-- name: count_unfinished
-- What a draining worker still waits for: unfinished jobs, except those waiting in paused queues.
SELECT coalesce(sum(n), 0) FROM tally
WHERE state IN ('pending', 'processing', 'failed', 'blocked') AND n > 0
    AND (state = 'processing' OR NOT EXISTS (SELECT 1 FROM queues WHERE name = '*'))
    AND (state = 'processing' OR NOT EXISTS (SELECT 1 FROM queues WHERE name = tally.queue))
    AND (:queues = '[]' OR queue IN (SELECT value FROM json_each(:queues)));

-- name: waiting_for
-- State, queue and id of an unfinished job and of the jobs that cannot start before it has finished.
WITH RECURSIVE waiting (seq, state, queue, id) AS (
    SELECT seq, state, queue, id FROM jobs
    WHERE id = :id AND state IN ('pending', 'processing', 'failed', 'blocked')
    UNION
    SELECT jobs.seq, jobs.state, jobs.queue, jobs.id FROM waiting
    JOIN dependents ON dependents.other = waiting.seq
    JOIN jobs ON jobs.seq = dependents.job AND jobs.state = 'blocked'
)
SELECT state, queue, id FROM waiting;

-- name: waiting_jobs
-- The queues with unfinished jobs that are not blocked, and how many of those wait; few rows, whatever the number of jobs.
SELECT queue, sum(CASE state WHEN 'processing' THEN 0 ELSE n END) FROM tally
WHERE state IN ('pending', 'failed', 'processing') AND n > 0 GROUP BY queue;

-- name: paused
SELECT name FROM queues ORDER BY name;

-- name: revision
SELECT rev, removed FROM clock;

-- name: first_and_last_end
-- Two subqueries, each one index lookup; min() and max() in one query would scan the index.
SELECT
    (SELECT finished_at FROM attempts WHERE finished_at >= :since ORDER BY finished_at LIMIT 1),
    (SELECT finished_at FROM attempts WHERE finished_at >= :since ORDER BY finished_at DESC LIMIT 1);

-- name: spans_of_attempts
-- For the timeline: ended attempts, newest first, and running ones.
SELECT * FROM (
    SELECT worker, outcome, started_at, finished_at FROM attempts
    WHERE finished_at >= coalesce(:since, 0) ORDER BY finished_at DESC LIMIT :limit
)
UNION ALL
SELECT attempts.worker, :running, attempts.started_at, max(:now, attempts.started_at)
FROM jobs JOIN attempts ON attempts.job = jobs.seq AND attempts.number = jobs.starts
WHERE jobs.state = 'processing' AND attempts.pid IS NOT NULL;

-- name: ends_by_outcome
-- Throughput: ended attempts by time slice and outcome; through the index attempts_finished.
SELECT CAST((finished_at - :start) / :slice AS INTEGER), outcome, count(*)
FROM attempts WHERE finished_at >= :start AND finished_at <= :end GROUP BY 1, 2;

-- name: example_of_error
SELECT jobs.id, jobs.error, attempts.reason
FROM jobs JOIN attempts ON attempts.job = jobs.seq AND attempts.number = jobs.starts
WHERE jobs.seq = :seq;

-- name: outputs_of_jobs
-- NULL for a stream that is still written, or of which only head and tail are stored.
SELECT
    jobs.id, attempts.number,
    CASE WHEN outcome IS NOT NULL AND stdout_tail IS NULL THEN coalesce(stdout, '') END,
    CASE WHEN outcome IS NOT NULL AND stderr_tail IS NULL THEN coalesce(stderr, '') END
FROM jobs JOIN attempts ON attempts.job = jobs.seq AND (attempts.number = jobs.starts OR :all)
WHERE jobs.seq IN (SELECT value FROM json_each(:seqs)) ORDER BY jobs.seq, attempts.number;

-- name: attempts_of_job
SELECT
    jobs.id, attempts.number, attempts.token, attempts.worker, attempts.pid, attempts.host, attempts.started_at,
    attempts.finished_at, attempts.outcome, attempts.exit_code, attempts.signal, attempts.error, user_cpu_s,
    system_cpu_s, max_rss_bytes, reason, attempts.error_key, stdout, stdout_tail, stdout_size, stderr, stderr_tail, stderr_size
FROM jobs JOIN attempts ON attempts.job = jobs.seq WHERE jobs.id = :id ORDER BY attempts.number;

-- name: attempt_of_job
SELECT
    jobs.id, attempts.number, attempts.token, attempts.worker, attempts.pid, attempts.host, attempts.started_at,
    attempts.finished_at, attempts.outcome, attempts.exit_code, attempts.signal, attempts.error, user_cpu_s,
    system_cpu_s, max_rss_bytes, reason, attempts.error_key, stdout, stdout_tail, stdout_size, stderr, stderr_tail, stderr_size
FROM jobs JOIN attempts ON attempts.job = jobs.seq WHERE jobs.id = :id AND attempts.number = :number;

-- name: attempt_facts_of_job
-- Without the streams, which may be megabytes an attempt.
SELECT
    jobs.id, attempts.number, attempts.token, attempts.worker, attempts.pid, attempts.host, attempts.started_at,
    attempts.finished_at, attempts.outcome, attempts.exit_code, attempts.signal, attempts.error, user_cpu_s,
    system_cpu_s, max_rss_bytes, reason, attempts.error_key, NULL, NULL, 0, NULL, NULL, 0
FROM jobs JOIN attempts ON attempts.job = jobs.seq WHERE jobs.id = :id ORDER BY attempts.number;

-- name: due_of_newest_attempts
SELECT jobs.id, due_at FROM jobs JOIN attempts ON attempts.job = jobs.seq AND attempts.number = jobs.starts
WHERE jobs.id IN (SELECT value FROM json_each(:ids));

-- ---------------------------------------------------------------- workers

-- name: add_worker
INSERT INTO workers (name, host, pool, queues, started_at)
VALUES (:name, :host, :pool, :queues, :now);

-- name: add_pool
INSERT INTO pools (host, pid, executor) VALUES (:host, :pool, :executor) ON CONFLICT DO NOTHING;

-- name: pool
SELECT executor, size FROM pools WHERE host = :host AND pid = :pool;

-- name: request_size
UPDATE pools SET size = :size WHERE host = :host AND pid = :pool;

-- name: clear_size
UPDATE pools SET size = NULL WHERE host = :host AND pid = :pool AND size = :size;

-- name: worker_is_running
UPDATE workers SET pid = :pid, started_at = :now WHERE name = :name;

-- name: remove_worker
DELETE FROM workers WHERE name = :name;

-- name: any_worker
SELECT 1 FROM workers LIMIT 1;

-- name: worker_rows
SELECT name, pid, host, pool, queues, started_at, jobs_done, stop FROM workers;

-- name: count_workers
SELECT count(*) FROM workers;

-- name: request_stop
UPDATE workers SET stop = CASE WHEN stop = 'now' THEN stop ELSE :how END WHERE name = :name;

-- name: stop_of_worker
SELECT stop FROM workers WHERE name = :name;

-- name: held_by_worker
-- The leases of a worker; few rows are 'processing', whatever the number of jobs.
SELECT jobs.seq, jobs.id, jobs.starts, jobs.token, attempts.pid
FROM jobs JOIN attempts ON attempts.job = jobs.seq AND attempts.number = jobs.starts
WHERE jobs.state = 'processing' AND jobs.worker = :worker ORDER BY jobs.started_at, jobs.seq;

-- name: take_over
UPDATE jobs SET worker = :worker, rev = (SELECT rev FROM clock)
WHERE state = 'processing' AND token IN (SELECT value FROM json_each(:tokens));

-- name: taken_over
-- As ready_in_queue, without what only a start needs.
SELECT token, seq, id, starts, '', '', queue, priority, attempts, max_retries, timeout, NULL, kind, '{}', NULL
FROM jobs WHERE state = 'processing' AND token IN (SELECT value FROM json_each(:tokens));

-- name: current_jobs
-- The current job of each worker: of several claimed, the last row is the one that runs or runs next.
SELECT jobs.worker, jobs.id FROM jobs JOIN attempts ON attempts.job = jobs.seq AND attempts.number = jobs.starts
WHERE jobs.state = 'processing'
ORDER BY attempts.pid IS NULL DESC, jobs.started_at DESC, priority, seq DESC;

-- name: orphaned_jobs
-- Workers that hold jobs and are no longer registered.
SELECT DISTINCT worker FROM jobs
WHERE state = 'processing' AND NOT EXISTS (SELECT 1 FROM workers WHERE workers.name = jobs.worker);

-- ---------------------------------------------------------------- settings

-- name: all_settings
-- As bytes, so that a value that is not UTF-8 is reported like any other invalid value.
SELECT key, CAST(value AS BLOB) FROM settings;

-- name: put_setting
INSERT INTO settings (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: drop_setting
DELETE FROM settings WHERE key = :key;

-- name: pause_queue
INSERT INTO queues (name, paused_at) VALUES (:name, :now) ON CONFLICT (name) DO NOTHING;

-- name: limits
-- Limited queues with their limit and the number of running jobs.
SELECT queue, n, coalesce((SELECT n FROM tally WHERE queue = limits.queue AND state = 'processing'), 0)
FROM limits ORDER BY queue;

-- name: set_limit
INSERT INTO limits (queue, n) VALUES (:queue, :n) ON CONFLICT (queue) DO UPDATE SET n = :n;

-- name: drop_limit
DELETE FROM limits WHERE queue = :queue;

-- name: any_limits
SELECT 1 FROM limits LIMIT 1;

-- name: resume_queue
DELETE FROM queues WHERE name = :name OR :name = '*';

-- name: recent_attempts
-- The newest attempts that ended by themselves; reads as many, whatever the number of jobs.
SELECT
    jobs.kind, jobs.command, attempts.started_at, attempts.finished_at, attempts.outcome <> 'succeeded',
    attempts.number = 1, before.finished_at - before.started_at, attempts.worker
FROM attempts
JOIN jobs ON jobs.seq = attempts.job
LEFT JOIN attempts AS before ON before.job = attempts.job AND before.number = attempts.number - 1
WHERE attempts.finished_at IS NOT NULL AND attempts.outcome IN ('succeeded', 'failed', 'timed_out')
ORDER BY attempts.finished_at DESC LIMIT :limit;

-- name: attempts_near
-- As recent_attempts, of the jobs that were enqueued shortly before and after the named ones; once if near several.
SELECT
    jobs.kind, jobs.command, attempts.started_at, attempts.finished_at, attempts.outcome <> 'succeeded',
    attempts.number = 1, before.finished_at - before.started_at, attempts.worker
FROM json_each(:ids) AS named
CROSS JOIN jobs AS one ON one.id = named.value
CROSS JOIN jobs ON jobs.seq BETWEEN one.seq - :reach AND one.seq + :reach AND jobs.kind = one.kind
CROSS JOIN attempts ON attempts.job = jobs.seq
LEFT JOIN attempts AS before ON before.job = attempts.job AND before.number = attempts.number - 1
WHERE attempts.finished_at IS NOT NULL AND attempts.outcome IN ('succeeded', 'failed', 'timed_out')
GROUP BY attempts.job, attempts.number
ORDER BY attempts.finished_at DESC LIMIT :limit;

-- name: running_attempts
-- As current_jobs; a claimed job that has not been started comes after the running one of its worker.
SELECT
    jobs.id, kind, command, queue, jobs.attempts, max_retries, timeout, attempts.number = 1,
    before.finished_at - before.started_at, jobs.started_at, jobs.worker, attempts.token
FROM jobs
JOIN attempts ON attempts.job = jobs.seq AND attempts.number = jobs.starts
LEFT JOIN attempts AS before ON before.job = jobs.seq AND before.number = jobs.starts - 1
WHERE jobs.state = 'processing'
ORDER BY attempts.pid IS NULL, jobs.started_at, priority DESC, seq;

-- name: pool_executors
SELECT host, pid, executor FROM pools;
