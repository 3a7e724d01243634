-- The first schema. Once released, a step is never edited: write the next one.

CREATE TABLE clock (
    -- One row. rev counts write transactions that changed jobs: a reader that knows a rev can query later changes;
    -- removed counts deletions, which leave no row.
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    rev INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0,
    boot TEXT NOT NULL DEFAULT ''  -- the boot that due_boottime of jobs belongs to
);
INSERT INTO clock (only_row) VALUES (1);

CREATE TABLE identity (
    -- One row: a random id, and the inode and birth time (nanoseconds) of the file that it was made for.
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    id TEXT NOT NULL,
    inode TEXT NOT NULL,  -- unsigned, which INTEGER is not
    born INTEGER
);

CREATE TABLE environments (
    -- The recorded part of an environment (keep_env), once for all jobs that share it.
    id INTEGER PRIMARY KEY,
    body TEXT NOT NULL UNIQUE CHECK (json_valid(body))
);

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of enqueue; never used again after a deletion
    id TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 128),
    command TEXT NOT NULL CHECK (length(command) > 0),
    kind TEXT NOT NULL DEFAULT 'command' CHECK (
        kind = 'command' OR kind = 'function' OR kind = 'cell' OR kind = 'notebook'
    ),
    -- spelled out: for each row written, SQLite makes a table of a list after IN and drops it again (a tenth of a job)
    state TEXT NOT NULL CHECK (
        state = 'pending' OR state = 'processing' OR state = 'completed' OR state = 'failed' OR state = 'dead'
        OR state = 'cancelled' OR state = 'blocked'
    ),
    ready INTEGER NOT NULL DEFAULT 0 CHECK (ready IN (0, 1)),  -- due and claimable; "scheduled" is waiting and not ready
    priority INTEGER NOT NULL DEFAULT 0,
    queue TEXT NOT NULL DEFAULT 'default',
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),  -- used of the budget, a running one included
    starts INTEGER NOT NULL DEFAULT 0 CHECK (starts >= attempts),  -- number of the newest attempt ever
    max_retries INTEGER CHECK (max_retries BETWEEN 1 AND 1000),
    timeout REAL CHECK (timeout >= 0),
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    after TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(after)),
    cwd TEXT NOT NULL,
    shell TEXT,
    env TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(env)),
    environment INTEGER REFERENCES environments (id),
    run_at REAL NOT NULL,
    due_boottime REAL,  -- while waiting: end of the delay or backoff in seconds since boot; NULL: due at run_at
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    exit_code INTEGER,
    error TEXT,
    error_key TEXT,  -- of failed and dead jobs: equal for those that failed in the same way
    worker TEXT,
    token TEXT,  -- fences the result of the running attempt
    cancel INTEGER NOT NULL DEFAULT 0 CHECK (cancel IN (0, 1)),
    result TEXT CHECK (result IS NULL OR json_valid(result)),
    progress REAL,
    metrics TEXT CHECK (metrics IS NULL OR json_valid(metrics)),  -- the last value of each name
    result_repr TEXT,
    key TEXT,  -- names the work; enqueuing it again keeps or retries this job
    work TEXT,  -- what a job with a key does, as a hash
    after_any TEXT CHECK (after_any IS NULL OR json_valid(after_any)),  -- the ids in after of which any end will do
    rev INTEGER NOT NULL,
    CHECK ((state = 'processing') = (token IS NOT NULL)),
    CHECK (ready = 0 OR state IN ('pending', 'failed')),
    CHECK (cancel = 0 OR state = 'processing'),
    CHECK (error_key IS NULL OR state IN ('failed', 'dead'))
);
CREATE UNIQUE INDEX jobs_key ON jobs (key) WHERE key IS NOT NULL;
-- the claim: the best ready job of a queue is the first entry
CREATE INDEX jobs_ready ON jobs (queue, priority DESC, seq) WHERE ready = 1;
-- promotion: what is due next is the first entry
CREATE INDEX jobs_scheduled ON jobs (run_at)
    WHERE ready = 0 AND state IN ('pending', 'failed') AND due_boottime IS NULL;
CREATE INDEX jobs_delayed ON jobs (due_boottime)
    WHERE ready = 0 AND state IN ('pending', 'failed') AND due_boottime IS NOT NULL;
-- listings by state, last changed first; "what changed since rev"; who holds what (state = 'processing')
CREATE INDEX jobs_state ON jobs (state, rev);
-- the few running jobs that a user has cancelled
CREATE INDEX jobs_cancel ON jobs (worker) WHERE cancel = 1;

CREATE TABLE dependents (
    -- job waits for other to complete, or (any_end) to finish in any way
    other INTEGER NOT NULL REFERENCES jobs (seq),
    job INTEGER NOT NULL REFERENCES jobs (seq),
    any_end INTEGER NOT NULL CHECK (any_end IN (0, 1)),
    PRIMARY KEY (other, job)
) WITHOUT ROWID;
CREATE INDEX dependents_job ON dependents (job);

CREATE TABLE edits (
    -- Changes of jobs after their enqueue, by field: the old and the new value.
    job INTEGER NOT NULL REFERENCES jobs (seq),
    at REAL NOT NULL,
    changes TEXT NOT NULL CHECK (json_valid(changes))
);
CREATE INDEX edits_job ON edits (job);

CREATE TABLE payloads (
    -- What a Python job runs.
    job INTEGER PRIMARY KEY REFERENCES jobs (seq),
    body TEXT NOT NULL CHECK (json_valid(body))
);

CREATE TABLE job_values (
    -- How the calls of a Python job ended: a pickle, in a blob if it is large. Of a cell: its value (call 0), its
    -- variables (with names, from 1) and what it has displayed (call -1, JSON).
    job INTEGER NOT NULL REFERENCES jobs (seq),
    call INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    raised INTEGER NOT NULL CHECK (raised IN (0, 1)),
    body BLOB,
    sha256 TEXT,
    size INTEGER NOT NULL,
    name TEXT,
    type TEXT,
    note TEXT,
    PRIMARY KEY (job, call)
) WITHOUT ROWID;

CREATE TABLE blobs (
    -- Immutable content; without a body it is a file in the spool.
    sha256 TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    body BLOB
) WITHOUT ROWID;
CREATE INDEX blob_files ON blobs (sha256) WHERE body IS NULL;

CREATE TABLE job_blobs (
    -- A blob is deleted with the last job that uses it.
    job INTEGER NOT NULL REFERENCES jobs (seq),
    sha256 TEXT NOT NULL REFERENCES blobs (sha256),
    PRIMARY KEY (job, sha256)
) WITHOUT ROWID;
CREATE INDEX job_blobs_sha256 ON job_blobs (sha256);
CREATE TRIGGER job_blobs_removed AFTER DELETE ON job_blobs
WHEN NOT EXISTS (SELECT 1 FROM job_blobs WHERE sha256 = old.sha256) BEGIN
    DELETE FROM blobs WHERE sha256 = old.sha256;
END;

CREATE TABLE attempts (
    job INTEGER NOT NULL REFERENCES jobs (seq),
    number INTEGER NOT NULL CHECK (number >= 1),
    token TEXT NOT NULL,
    worker TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER,
    due_at REAL NOT NULL,
    -- what the job was before this claim, for releasing it: 0 pending, 1 pending after another attempt, 2 failed
    undo INTEGER NOT NULL CHECK (undo BETWEEN 0 AND 2),
    started_at REAL NOT NULL,
    finished_at REAL,
    outcome TEXT CHECK (
        outcome = 'succeeded' OR outcome = 'failed' OR outcome = 'timed_out' OR outcome = 'lost'
        OR outcome = 'cancelled' OR outcome = 'returned' OR outcome = 'not_started'
    ),
    exit_code INTEGER,
    signal TEXT,
    error TEXT,
    reason TEXT,
    error_key TEXT,
    user_cpu_s REAL,
    system_cpu_s REAL,
    max_rss_bytes INTEGER,
    stdout_size INTEGER NOT NULL DEFAULT 0,
    stderr_size INTEGER NOT NULL DEFAULT 0,
    -- last in the row, so that reading the facts above never touches a stream's overflow pages
    stdout BLOB,
    stdout_tail BLOB,
    stderr BLOB,
    stderr_tail BLOB,
    CHECK ((outcome IS NULL) = (finished_at IS NULL))
);
CREATE UNIQUE INDEX attempts_job ON attempts (job, number);
-- throughput and statistics of a time span
CREATE INDEX attempts_finished ON attempts (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE attempt_metrics (
    -- What attempts have reported, see model/metrics.py: only those that have.
    job INTEGER NOT NULL REFERENCES jobs (seq),
    number INTEGER NOT NULL,
    invalid INTEGER NOT NULL,  -- lines that were not JSON objects
    complete INTEGER NOT NULL CHECK (complete IN (0, 1)),
    points BLOB NOT NULL,
    PRIMARY KEY (job, number)
);

CREATE TABLE attempt_artifacts (
    -- Which attempts have a folder of artifacts in the spool, or had files there that were not kept.
    job INTEGER NOT NULL REFERENCES jobs (seq),
    number INTEGER NOT NULL,
    token TEXT NOT NULL UNIQUE,
    files INTEGER NOT NULL,
    size INTEGER NOT NULL,
    note TEXT,
    PRIMARY KEY (job, number)
);

CREATE TABLE workers (
    name TEXT PRIMARY KEY CHECK (length(name) > 0),
    pid INTEGER,
    host TEXT NOT NULL,
    pool INTEGER NOT NULL,
    queues TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(queues)),  -- [] for all
    started_at REAL NOT NULL,
    jobs_done INTEGER NOT NULL DEFAULT 0,
    stop TEXT CHECK (stop IN ('drain', 'now'))
) WITHOUT ROWID;

CREATE TABLE pools (
    -- The supervisors that have workers.
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    executor TEXT NOT NULL CHECK (executor IN ('local', 'dask')),
    size INTEGER CHECK (size > 0),  -- the number of workers that the supervisor was asked for and has yet to reach
    PRIMARY KEY (host, pid)
) WITHOUT ROWID;
CREATE TRIGGER pools_removed AFTER DELETE ON workers
WHEN NOT EXISTS (SELECT 1 FROM workers WHERE host = old.host AND pool = old.pool) BEGIN
    DELETE FROM pools WHERE host = old.host AND pid = old.pool;
END;

CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE queues (
    -- Paused queues; '*' means all (no queue can have that name).
    name TEXT PRIMARY KEY,
    paused_at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE limits (
    -- Maximum number of running jobs of a queue.
    queue TEXT PRIMARY KEY,
    n INTEGER NOT NULL CHECK (n > 0)
) WITHOUT ROWID;

CREATE TABLE tally (
    -- Jobs by queue and state, kept by the triggers below, so that a count never scans jobs.
    queue TEXT NOT NULL,
    state TEXT NOT NULL,
    n INTEGER NOT NULL CHECK (n >= 0),
    PRIMARY KEY (queue, state)
) WITHOUT ROWID;
CREATE TRIGGER jobs_added AFTER INSERT ON jobs BEGIN
    INSERT INTO tally (queue, state, n) VALUES (new.queue, new.state, 1)
        ON CONFLICT (queue, state) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state, queue ON jobs WHEN old.state <> new.state OR old.queue <> new.queue BEGIN
    UPDATE tally SET n = n - 1 WHERE queue = old.queue AND state = old.state;
    INSERT INTO tally (queue, state, n) VALUES (new.queue, new.state, 1)
        ON CONFLICT (queue, state) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER jobs_removed AFTER DELETE ON jobs BEGIN
    UPDATE tally SET n = n - 1 WHERE queue = old.queue AND state = old.state;
    DELETE FROM attempts WHERE job = old.seq;
    DELETE FROM attempt_metrics WHERE job = old.seq;
    DELETE FROM attempt_artifacts WHERE job = old.seq;
    DELETE FROM dependents WHERE job = old.seq OR other = old.seq;
    DELETE FROM edits WHERE job = old.seq;
    UPDATE clock SET removed = removed + 1;
END;
CREATE TRIGGER python_jobs_removed AFTER DELETE ON jobs WHEN old.kind <> 'command' BEGIN
    DELETE FROM payloads WHERE job = old.seq;
    DELETE FROM job_values WHERE job = old.seq;
    DELETE FROM job_blobs WHERE job = old.seq;
END;

CREATE VIEW job_view AS
SELECT
    id, command, state, priority, attempts, max_retries, timeout, queue, tags, after, cwd,
    strftime('%Y-%m-%dT%H:%M:%fZ', run_at, 'unixepoch') AS run_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', created_at, 'unixepoch') AS created_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', updated_at, 'unixepoch') AS updated_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', started_at, 'unixepoch') AS started_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', finished_at, 'unixepoch') AS finished_at,
    exit_code, error, worker, result, kind, key, progress, metrics, result_repr
FROM jobs;

CREATE VIEW attempt_view AS
SELECT
    jobs.id AS job_id, number, attempts.token AS token, attempts.worker AS worker, pid, host,
    strftime('%Y-%m-%dT%H:%M:%fZ', attempts.started_at, 'unixepoch') AS started_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', attempts.finished_at, 'unixepoch') AS finished_at,
    outcome, attempts.exit_code AS exit_code, signal, attempts.error AS error,
    user_cpu_s, system_cpu_s, max_rss_bytes,
    CASE
        WHEN stdout_tail IS NULL THEN stdout
        WHEN typeof(stdout) = 'blob' OR typeof(stdout_tail) = 'blob' THEN CAST(stdout || stdout_gap || stdout_tail AS BLOB)
        ELSE stdout || stdout_gap || stdout_tail
    END AS stdout,
    CASE
        WHEN stderr_tail IS NULL THEN stderr
        WHEN typeof(stderr) = 'blob' OR typeof(stderr_tail) = 'blob' THEN CAST(stderr || stderr_gap || stderr_tail AS BLOB)
        ELSE stderr || stderr_gap || stderr_tail
    END AS stderr,
    reason, attempts.error_key AS error_key
FROM jobs JOIN (
    SELECT *,
        char(10) || '... ' || (stdout_size - length(CAST(stdout AS BLOB)) - length(CAST(stdout_tail AS BLOB)))
            || ' bytes not kept here ...' || char(10) AS stdout_gap,
        char(10) || '... ' || (stderr_size - length(CAST(stderr AS BLOB)) - length(CAST(stderr_tail AS BLOB)))
            || ' bytes not kept here ...' || char(10) AS stderr_gap
    FROM attempts
) AS attempts ON jobs.seq = attempts.job;
