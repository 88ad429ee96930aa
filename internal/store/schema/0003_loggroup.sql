-- A deleted group or stream stays, marked, until its entries are trimmed.
CREATE TABLE log_group (
    id             {serial} PRIMARY KEY,
    account        {text} NOT NULL,
    region         {text} NOT NULL,
    name           {text} NOT NULL,
    created_at     {int} NOT NULL,
    retention_days {int} NOT NULL,
    kms_key_id     {text} NOT NULL,
    class          {text} NOT NULL,
    tags           {text} NOT NULL,
    deleted        {int} NOT NULL
);
CREATE UNIQUE INDEX log_group_name ON log_group (account, region, name) WHERE deleted = 0;
CREATE INDEX log_group_deleted ON log_group (id) WHERE deleted = 1;

CREATE TABLE log_stream (
    id          {serial} PRIMARY KEY,
    group_id    {int} NOT NULL REFERENCES log_group (id) ON DELETE CASCADE,
    name        {text} NOT NULL,
    created_at  {int} NOT NULL,
    first_at    {int} NOT NULL,
    last_at     {int} NOT NULL,
    ingested_at {int} NOT NULL,
    bytes       {int} NOT NULL,
    deleted     {int} NOT NULL
);
CREATE UNIQUE INDEX log_stream_name ON log_stream (group_id, name) WHERE deleted = 0;
CREATE INDEX log_stream_group ON log_stream (group_id);
CREATE INDEX log_stream_last ON log_stream (group_id, last_at, name) WHERE deleted = 0;
CREATE INDEX log_stream_deleted ON log_stream (id) WHERE deleted = 1;

-- No foreign keys: two look-ups for each line would be dear, and only the
-- trimming removes what they point to.
CREATE TABLE log_entry (
    id          {serial} PRIMARY KEY,
    group_id    {int} NOT NULL,
    stream_id   {int} NOT NULL,
    at          {int} NOT NULL,
    ingested_at {int} NOT NULL,
    message     {text} NOT NULL
);
CREATE INDEX log_entry_group ON log_entry (group_id, at, id);
CREATE INDEX log_entry_stream ON log_entry (stream_id, at, id);
