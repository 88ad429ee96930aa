-- Functions of AWS services' own; '' for users'.
ALTER TABLE function ADD COLUMN owner {text} NOT NULL DEFAULT '';

-- Registered databases.
CREATE TABLE db_instance (
	account  {text} NOT NULL,
	region   {text} NOT NULL,
	id       {text} NOT NULL,
	cluster  {text} NOT NULL, -- '' outside of clusters
	source   {text} NOT NULL, -- the instance that it replicates, or ''
	subnets  {text} NOT NULL, -- the subnet group, or ''
	body     {text} NOT NULL,
	PRIMARY KEY (account, region, id)
){clustered};
CREATE INDEX db_instance_cluster ON db_instance (account, region, cluster, id) WHERE cluster <> '';
CREATE INDEX db_instance_source ON db_instance (account, region, source, id) WHERE source <> '';
CREATE INDEX db_instance_subnets ON db_instance (account, region, subnets, id) WHERE subnets <> '';

CREATE TABLE db_cluster (
	account  {text} NOT NULL,
	region   {text} NOT NULL,
	id       {text} NOT NULL,
	subnets  {text} NOT NULL,
	body     {text} NOT NULL,
	PRIMARY KEY (account, region, id)
){clustered};
CREATE INDEX db_cluster_subnets ON db_cluster (account, region, subnets, id) WHERE subnets <> '';

CREATE TABLE db_subnet_group (
	account  {text} NOT NULL,
	region   {text} NOT NULL,
	name     {text} NOT NULL,
	body     {text} NOT NULL,
	PRIMARY KEY (account, region, name)
){clustered};
