-- What the doctor found of a rotation's last failure, in JSON.
ALTER TABLE rotation ADD COLUMN finding {text} NOT NULL DEFAULT '';
