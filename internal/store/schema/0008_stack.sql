-- Stacks of CloudFormation. body is what cannot be a secret, as JSON; sealed
-- is the rest. The columns beside them are what statements compare.
CREATE TABLE stack (
    id         {text} PRIMARY KEY,
    account    {text} NOT NULL,
    region     {text} NOT NULL,
    name       {text} NOT NULL,
    status     {text} NOT NULL,
    created_at {int} NOT NULL,
    deleted_at {int} NOT NULL,
    parent_id  {text} NOT NULL,
    body       {text} NOT NULL,
    sealed     {bytes}
){clustered};
CREATE UNIQUE INDEX stack_name ON stack (account, region, name) WHERE deleted_at = 0;
CREATE INDEX stack_created ON stack (account, region, created_at, id);
CREATE INDEX stack_deleted ON stack (deleted_at) WHERE deleted_at > 0;
CREATE INDEX stack_parent ON stack (parent_id, id) WHERE parent_id <> '';

-- One physical resource each; seq orders them by creation.
CREATE TABLE stack_resource (
    seq         {serial} PRIMARY KEY,
    id          {text} NOT NULL,
    stack_id    {text} NOT NULL REFERENCES stack (id) ON DELETE CASCADE,
    logical_id  {text} NOT NULL,
    physical_id {text} NOT NULL,
    body        {text} NOT NULL,
    sealed      {bytes}
);
CREATE UNIQUE INDEX stack_resource_id ON stack_resource (id);
CREATE INDEX stack_resource_stack ON stack_resource (stack_id, logical_id, seq);
CREATE INDEX stack_resource_physical ON stack_resource (physical_id, stack_id) WHERE physical_id <> '';

CREATE TABLE stack_event (
    seq      {serial} PRIMARY KEY,
    stack_id {text} NOT NULL REFERENCES stack (id) ON DELETE CASCADE,
    body     {text} NOT NULL,
    sealed   {bytes}
);
CREATE INDEX stack_event_stack ON stack_event (stack_id, seq);

CREATE TABLE stack_change_set (
    id         {text} PRIMARY KEY,
    stack_id   {text} NOT NULL REFERENCES stack (id) ON DELETE CASCADE,
    name       {text} NOT NULL,
    created_at {int} NOT NULL,
    body       {text} NOT NULL,
    sealed     {bytes}
){clustered};
CREATE UNIQUE INDEX stack_change_set_name ON stack_change_set (stack_id, name);

-- token is the caller's ClientRequestToken.
CREATE TABLE stack_operation (
    id          {text} PRIMARY KEY,
    stack_id    {text} NOT NULL REFERENCES stack (id) ON DELETE CASCADE,
    kind        {text} NOT NULL,
    done        {int} NOT NULL,
    nested      {int} NOT NULL,
    started_at  {int} NOT NULL,
    token       {text} NOT NULL,
    owner       {text} NOT NULL,
    lease_until {int} NOT NULL,
    fence       {int} NOT NULL,
    body        {text} NOT NULL,
    sealed      {bytes}
){clustered};
CREATE INDEX stack_operation_running ON stack_operation (nested, started_at, id) WHERE done = 0;
CREATE INDEX stack_operation_stack ON stack_operation (stack_id, started_at, id);

CREATE TABLE stack_export (
    account  {text} NOT NULL,
    region   {text} NOT NULL,
    name     {text} NOT NULL,
    stack_id {text} NOT NULL REFERENCES stack (id) ON DELETE CASCADE,
    sealed   {bytes},
    PRIMARY KEY (account, region, name)
){clustered};
CREATE INDEX stack_export_stack ON stack_export (stack_id, name);

CREATE TABLE stack_import (
    account  {text} NOT NULL,
    region   {text} NOT NULL,
    name     {text} NOT NULL,
    stack_id {text} NOT NULL REFERENCES stack (id) ON DELETE CASCADE,
    PRIMARY KEY (account, region, name, stack_id)
){clustered};
CREATE INDEX stack_import_stack ON stack_import (stack_id);
