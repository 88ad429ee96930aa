-- next_rotation_at stays while a key is disabled, which stops rotation.
ALTER TABLE kms_key ADD COLUMN rotation_days {int} NOT NULL DEFAULT 0;
ALTER TABLE kms_key ADD COLUMN next_rotation_at {int} NOT NULL DEFAULT 0;
UPDATE kms_key SET rotation_days = 365, next_rotation_at = created_at + 31536000000000 WHERE manager = 'AWS';
CREATE INDEX kms_key_rotate ON kms_key (next_rotation_at) WHERE next_rotation_at > 0 AND state = 'Enabled';

-- A ciphertext names its key by the ID alone.
CREATE INDEX kms_key_id ON kms_key (id, region);

ALTER TABLE kms_material ADD COLUMN rotation {text} NOT NULL DEFAULT '';

-- operations is a list; equals and subset are what an encryption context must
-- be or hold, '' for no constraint.
CREATE TABLE kms_grant (
    account    {text} NOT NULL,
    region     {text} NOT NULL,
    key_id     {text} NOT NULL,
    id         {text} NOT NULL,
    name       {text} NOT NULL,
    grantee    {text} NOT NULL,
    retiring   {text} NOT NULL,
    issuer     {text} NOT NULL,
    operations {text} NOT NULL,
    equals     {text} NOT NULL,
    subset     {text} NOT NULL,
    created_at {int} NOT NULL,
    PRIMARY KEY (account, region, key_id, id),
    FOREIGN KEY (account, region, key_id) REFERENCES kms_key (account, region, id) ON DELETE CASCADE
){clustered};
CREATE INDEX kms_grant_grantee ON kms_grant (account, region, key_id, grantee, id);
CREATE INDEX kms_grant_name ON kms_grant (account, region, key_id, name, id) WHERE name <> '';
CREATE INDEX kms_grant_retiring ON kms_grant (region, retiring, id) WHERE retiring <> '';
