-- Which root key wrapped what: its ID stands behind the first byte.
CREATE INDEX kms_material_root ON kms_material (substr(wrapped, 2, 8), account, region, key_id, seq);
