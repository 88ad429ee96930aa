-- VPCs and what is in them. body is JSON; vpc is '' for what is in none.
CREATE TABLE network_object (
    account {text} NOT NULL,
    region  {text} NOT NULL,
    id      {text} NOT NULL,
    kind    {text} NOT NULL,
    vpc     {text} NOT NULL,
    body    {text} NOT NULL,
    PRIMARY KEY (account, region, id)
){clustered};
CREATE INDEX network_object_vpc ON network_object (account, region, vpc);
CREATE INDEX network_object_kind ON network_object (account, region, kind, id);

-- Where an account's first VPC was made. It is not made again once deleted.
CREATE TABLE network_account (
    account {text} NOT NULL,
    region  {text} NOT NULL,
    PRIMARY KEY (account, region)
){clustered};

-- Through which interfaces a version of a function reaches its VPC. holder
-- is as in code_use.
CREATE TABLE network_use (
    holder       {text} NOT NULL,
    account      {text} NOT NULL,
    region       {text} NOT NULL,
    interface_id {text} NOT NULL,
    PRIMARY KEY (holder, interface_id)
){clustered};
CREATE INDEX network_use_interface ON network_use (account, region, interface_id);
