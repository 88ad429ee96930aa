-- config and body are JSON; the columns beside them are looked up or summed.
CREATE TABLE function (
    id           {text} PRIMARY KEY,
    account      {text} NOT NULL,
    region       {text} NOT NULL,
    name         {text} NOT NULL,
    reserved     {int} NOT NULL, -- -1 when there is none
    provisioned  {int} NOT NULL, -- sum over versions and aliases
    changing     {int} NOT NULL, -- a creation or update has not finished
    next_version {int} NOT NULL,
    config       {text} NOT NULL, -- $LATEST
    body         {text} NOT NULL,
    revision     {int} NOT NULL
){clustered};
CREATE UNIQUE INDEX function_name ON function (account, region, name);
CREATE INDEX function_claim ON function (account, region, reserved, provisioned) WHERE reserved > 0 OR provisioned > 0;
CREATE INDEX function_provisioned ON function (id) WHERE provisioned > 0;
CREATE INDEX function_changing ON function (id) WHERE changing = 1;

CREATE TABLE function_version (
    function_id {text} NOT NULL REFERENCES function (id) ON DELETE CASCADE,
    number      {int} NOT NULL,
    changing    {int} NOT NULL,
    config      {text} NOT NULL,
    PRIMARY KEY (function_id, number)
){clustered};
CREATE INDEX function_version_changing ON function_version (function_id, number) WHERE changing = 1;

CREATE TABLE function_alias (
    function_id {text} NOT NULL REFERENCES function (id) ON DELETE CASCADE,
    name        {text} NOT NULL,
    version     {text} NOT NULL,
    description {text} NOT NULL,
    revision_id {text} NOT NULL,
    weights     {text} NOT NULL, -- JSON
    PRIMARY KEY (function_id, name)
){clustered};

-- Numbers of layer versions are never used again.
CREATE TABLE layer (
    account      {text} NOT NULL,
    region       {text} NOT NULL,
    name         {text} NOT NULL,
    next_version {int} NOT NULL,
    PRIMARY KEY (account, region, name)
){clustered};

CREATE TABLE layer_version (
    account {text} NOT NULL,
    region  {text} NOT NULL,
    name    {text} NOT NULL,
    version {int} NOT NULL,
    body    {text} NOT NULL, -- JSON
    PRIMARY KEY (account, region, name, version),
    FOREIGN KEY (account, region, name) REFERENCES layer (account, region, name) ON DELETE CASCADE
){clustered};

-- Zips of functions and layers by the base64 SHA-256 of their content.
CREATE TABLE code (
    sha256 {text} PRIMARY KEY,
    zip    {bytes} NOT NULL
);

-- Who needs a zip: a version of a function, or of a layer. size is what it
-- counts for in its account.
CREATE TABLE code_use (
    holder  {text} NOT NULL,
    sha256  {text} NOT NULL REFERENCES code (sha256),
    account {text} NOT NULL,
    region  {text} NOT NULL,
    size    {int} NOT NULL,
    PRIMARY KEY (holder, sha256)
){clustered};
CREATE INDEX code_use_code ON code_use (sha256);
CREATE INDEX code_use_size ON code_use (account, region, size);

-- Asynchronous invocations that wait or run. due_at is when one is tried
-- next, or, while it runs, when its claim ends.
CREATE TABLE function_event (
    request_id   {text} PRIMARY KEY,
    function_id  {text} NOT NULL REFERENCES function (id) ON DELETE CASCADE,
    qualifier    {text} NOT NULL,
    payload      {bytes} NOT NULL, -- sealed
    trace_header {text} NOT NULL,
    accepted_at  {int} NOT NULL,
    due_at       {int} NOT NULL,
    owner        {text} NOT NULL,
    fence        {int} NOT NULL,
    errors       {int} NOT NULL,
    throttles    {int} NOT NULL
){clustered};
CREATE INDEX function_event_due ON function_event (due_at);
CREATE INDEX function_event_owner ON function_event (owner) WHERE owner <> '';
CREATE INDEX function_event_function ON function_event (function_id);
