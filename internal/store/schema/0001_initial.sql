-- Keys of the server's own.
CREATE TABLE meta (
    key   {text} PRIMARY KEY,
    value {text} NOT NULL
){clustered};

-- body is the whole record with its labelled versions, encoded; the columns
-- beside it are what statements compare. Neither this table nor that of
-- versions is clustered: their rows are so wide that few fit into an inner
-- page of a clustered tree, which therefore grows deep.
CREATE TABLE secret (
    id            {text} NOT NULL PRIMARY KEY,
    account       {text} NOT NULL,
    region        {text} NOT NULL,
    name          {text} NOT NULL,
    created_at    {int} NOT NULL,
    changed_at    {int} NOT NULL,
    accessed_on   {int} NOT NULL,
    delete_at     {int} NOT NULL,
    due_at        {int} NOT NULL,
    version_count {int} NOT NULL,
    revision      {int} NOT NULL,
    body          {bytes} NOT NULL
);
CREATE UNIQUE INDEX secret_name ON secret (account, region, name);
CREATE INDEX secret_created  ON secret (account, region, created_at, name, delete_at);
CREATE INDEX secret_changed  ON secret (account, region, changed_at, name, delete_at);
CREATE INDEX secret_accessed ON secret (account, region, accessed_on, name, delete_at);
CREATE INDEX secret_due      ON secret (due_at) WHERE due_at > 0 AND delete_at = 0;
CREATE INDEX secret_delete   ON secret (delete_at) WHERE delete_at > 0;
CREATE INDEX secret_crowded  ON secret (id) WHERE version_count > 100;

-- All versions. seq orders those of a secret by creation; meta is what a
-- record tells of a version, labels aside, encoded.
CREATE TABLE version (
    secret_id {text} NOT NULL REFERENCES secret (id) ON DELETE CASCADE,
    id        {text} NOT NULL,
    seq       {int} NOT NULL,
    meta      {bytes} NOT NULL,
    sealed    {bytes},
    PRIMARY KEY (secret_id, id)
);

-- A staging label is on at most one version of a secret.
CREATE TABLE label (
    secret_id  {text} NOT NULL,
    label      {text} NOT NULL,
    version_id {text} NOT NULL,
    PRIMARY KEY (secret_id, label),
    FOREIGN KEY (secret_id, version_id) REFERENCES version (secret_id, id) ON DELETE CASCADE
){clustered};

-- behind: the region has to take over the primary's latest revision.
CREATE TABLE replica (
    secret_id   {text} NOT NULL REFERENCES secret (id) ON DELETE CASCADE,
    region      {text} NOT NULL,
    seq         {int} NOT NULL,
    kms_key_id  {text} NOT NULL,
    status      {text} NOT NULL,
    message     {text} NOT NULL,
    accessed_on {int} NOT NULL,
    revision    {int} NOT NULL,
    overwrite   {int} NOT NULL,
    behind      {int} NOT NULL,
    PRIMARY KEY (secret_id, region)
){clustered};
CREATE INDEX replica_behind ON replica (secret_id, region) WHERE behind = 1;

CREATE TABLE rotation (
    secret_id      {text} PRIMARY KEY REFERENCES secret (id) ON DELETE CASCADE,
    token          {text} NOT NULL,
    test_only      {int} NOT NULL,
    scheduled      {int} NOT NULL,
    state          {text} NOT NULL,
    step           {text} NOT NULL,
    attempt        {int} NOT NULL,
    announced      {int} NOT NULL,
    function_arn   {text} NOT NULL,
    rotation_token {bytes},
    started_at     {int} NOT NULL,
    window_end     {int} NOT NULL,
    not_before     {int} NOT NULL,
    error          {text} NOT NULL,
    failed_step    {text} NOT NULL,
    finished_at    {int} NOT NULL,
    owner          {text} NOT NULL,
    lease_until    {int} NOT NULL,
    fence          {int} NOT NULL
){clustered};
CREATE INDEX rotation_running ON rotation (not_before) WHERE state = 'running';

CREATE TABLE kms_key (
    account     {text} NOT NULL,
    region      {text} NOT NULL,
    id          {text} NOT NULL,
    description {text} NOT NULL,
    manager     {text} NOT NULL,
    state       {text} NOT NULL,
    policy      {text} NOT NULL,
    created_at  {int} NOT NULL,
    delete_at   {int} NOT NULL,
    tags        {text} NOT NULL,
    PRIMARY KEY (account, region, id)
){clustered};
CREATE INDEX kms_key_delete ON kms_key (delete_at) WHERE delete_at > 0;

-- Generations of a key's secret bytes, wrapped by the root key.
CREATE TABLE kms_material (
    account    {text} NOT NULL,
    region     {text} NOT NULL,
    key_id     {text} NOT NULL,
    seq        {int} NOT NULL,
    id         {text} NOT NULL,
    wrapped    {bytes} NOT NULL,
    created_at {int} NOT NULL,
    PRIMARY KEY (account, region, key_id, seq),
    FOREIGN KEY (account, region, key_id) REFERENCES kms_key (account, region, id) ON DELETE CASCADE
){clustered};

CREATE TABLE kms_alias (
    account    {text} NOT NULL,
    region     {text} NOT NULL,
    name       {text} NOT NULL,
    key_id     {text} NOT NULL,
    created_at {int} NOT NULL,
    updated_at {int} NOT NULL,
    PRIMARY KEY (account, region, name),
    FOREIGN KEY (account, region, key_id) REFERENCES kms_key (account, region, id) ON DELETE CASCADE
){clustered};
CREATE INDEX kms_alias_key ON kms_alias (account, region, key_id, name);

-- folded is the name in lower case.
CREATE TABLE iam_role (
    account      {text} NOT NULL,
    folded       {text} NOT NULL,
    name         {text} NOT NULL,
    path         {text} NOT NULL,
    id           {text} NOT NULL,
    description  {text} NOT NULL,
    trust_policy {text} NOT NULL,
    max_session  {int} NOT NULL, -- seconds
    created_at   {int} NOT NULL,
    tags         {text} NOT NULL,
    PRIMARY KEY (account, folded)
){clustered};
CREATE UNIQUE INDEX iam_role_id ON iam_role (id);

-- Policies of roles, and of users and groups: kind says which; holder is
-- the folded name.
CREATE TABLE iam_inline_policy (
    account  {text} NOT NULL,
    kind     {text} NOT NULL,
    holder   {text} NOT NULL,
    name     {text} NOT NULL,
    document {text} NOT NULL,
    PRIMARY KEY (account, kind, holder, name)
){clustered};

CREATE TABLE iam_attached_policy (
    account    {text} NOT NULL,
    kind       {text} NOT NULL,
    holder     {text} NOT NULL,
    policy_arn {text} NOT NULL,
    seq        {int} NOT NULL,
    PRIMARY KEY (account, kind, holder, policy_arn)
){clustered};
CREATE INDEX iam_attached_policy_arn ON iam_attached_policy (policy_arn, account, kind, holder);

-- body is the whole event as JSON; the columns beside it are looked up.
-- resource_type and resource_name describe the first resource.
CREATE TABLE trail_event (
    seq           {serial} PRIMARY KEY,
    id            {text} NOT NULL,
    account       {text} NOT NULL,
    region        {text} NOT NULL,
    at            {int} NOT NULL,
    source        {text} NOT NULL,
    name          {text} NOT NULL,
    read_only     {int} NOT NULL,
    username      {text} NOT NULL,
    access_key_id {text} NOT NULL,
    resource_type {text} NOT NULL,
    resource_name {text} NOT NULL,
    body          {text} NOT NULL
);
CREATE INDEX trail_event_at ON trail_event (account, region, at, seq, source, read_only, resource_type);
CREATE INDEX trail_event_id ON trail_event (id);
CREATE INDEX trail_event_name ON trail_event (account, region, name, at, seq);
CREATE INDEX trail_event_username ON trail_event (account, region, username, at, seq) WHERE username <> '';
CREATE INDEX trail_event_access_key ON trail_event (account, region, access_key_id, at, seq) WHERE access_key_id <> '';
CREATE INDEX trail_event_resource ON trail_event (account, region, resource_name, at, seq) WHERE resource_name <> '';

-- The second and later resources of the few events that have them.
CREATE TABLE trail_resource (
    account {text} NOT NULL,
    region  {text} NOT NULL,
    type    {text} NOT NULL,
    name    {text} NOT NULL,
    at      {int} NOT NULL,
    seq     {int} NOT NULL REFERENCES trail_event (seq) ON DELETE CASCADE
);
CREATE INDEX trail_resource_name ON trail_resource (account, region, name, at, seq);
CREATE INDEX trail_resource_type ON trail_resource (account, region, type, at, seq);
CREATE INDEX trail_resource_seq ON trail_resource (seq);
