-- boundary is the ARN of the managed policy that bounds permissions, or ''.
ALTER TABLE iam_role ADD COLUMN boundary {text} NOT NULL DEFAULT '';
CREATE INDEX iam_role_boundary ON iam_role (boundary, account, folded) WHERE boundary <> '';

-- folded is the name in lower case, here and below.
CREATE TABLE iam_user (
    account    {text} NOT NULL,
    folded     {text} NOT NULL,
    name       {text} NOT NULL,
    path       {text} NOT NULL,
    id         {text} NOT NULL,
    created_at {int} NOT NULL,
    boundary   {text} NOT NULL,
    tags       {text} NOT NULL,
    PRIMARY KEY (account, folded)
){clustered};
CREATE UNIQUE INDEX iam_user_id ON iam_user (id);
CREATE INDEX iam_user_boundary ON iam_user (boundary, account, folded) WHERE boundary <> '';

CREATE TABLE iam_group (
    account    {text} NOT NULL,
    folded     {text} NOT NULL,
    name       {text} NOT NULL,
    path       {text} NOT NULL,
    id         {text} NOT NULL,
    created_at {int} NOT NULL,
    PRIMARY KEY (account, folded)
){clustered};
CREATE UNIQUE INDEX iam_group_id ON iam_group (id);

-- Who is in which group, by folded names.
CREATE TABLE iam_membership (
    account    {text} NOT NULL,
    user_name  {text} NOT NULL,
    group_name {text} NOT NULL,
    PRIMARY KEY (account, user_name, group_name),
    FOREIGN KEY (account, user_name) REFERENCES iam_user (account, folded) ON UPDATE CASCADE ON DELETE CASCADE,
    FOREIGN KEY (account, group_name) REFERENCES iam_group (account, folded) ON UPDATE CASCADE ON DELETE CASCADE
){clustered};
CREATE INDEX iam_membership_group ON iam_membership (account, group_name, user_name);

-- holder is the user's folded name, or '' for the account's root.
CREATE TABLE iam_access_key (
    id           {text} PRIMARY KEY,
    account      {text} NOT NULL,
    holder       {text} NOT NULL,
    secret       {bytes} NOT NULL, -- sealed
    inactive     {int} NOT NULL,
    created_at   {int} NOT NULL,
    used_at      {int} NOT NULL,
    used_service {text} NOT NULL,
    used_region  {text} NOT NULL
){clustered};
CREATE INDEX iam_access_key_holder ON iam_access_key (account, holder, created_at, id);

CREATE TABLE iam_policy (
    account         {text} NOT NULL,
    folded          {text} NOT NULL,
    name            {text} NOT NULL,
    path            {text} NOT NULL,
    id              {text} NOT NULL,
    description     {text} NOT NULL,
    created_at      {int} NOT NULL,
    updated_at      {int} NOT NULL,
    default_version {text} NOT NULL,
    next_version    {int} NOT NULL,
    tags            {text} NOT NULL,
    PRIMARY KEY (account, folded)
){clustered};
CREATE UNIQUE INDEX iam_policy_id ON iam_policy (id);

CREATE TABLE iam_policy_version (
    account    {text} NOT NULL,
    policy     {text} NOT NULL, -- folded name
    seq        {int} NOT NULL,
    id         {text} NOT NULL,
    document   {text} NOT NULL,
    created_at {int} NOT NULL,
    PRIMARY KEY (account, policy, seq),
    FOREIGN KEY (account, policy) REFERENCES iam_policy (account, folded) ON DELETE CASCADE
){clustered};

CREATE TABLE account (
    id         {text} PRIMARY KEY,
    name       {text} NOT NULL,
    created_at {int} NOT NULL
){clustered};

-- An alias stands for one account in the whole deployment.
CREATE TABLE iam_account_alias (
    account {text} PRIMARY KEY,
    alias   {text} NOT NULL
){clustered};
CREATE UNIQUE INDEX iam_account_alias_alias ON iam_account_alias (alias);

-- client_ids and thumbprints are JSON lists.
CREATE TABLE iam_provider (
    account     {text} NOT NULL,
    url         {text} NOT NULL,
    client_ids  {text} NOT NULL,
    thumbprints {text} NOT NULL,
    created_at  {int} NOT NULL,
    tags        {text} NOT NULL,
    PRIMARY KEY (account, url)
){clustered};
