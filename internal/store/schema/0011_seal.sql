-- Seals of the stored events. proofs are the numbers of the events that a seal
-- covers and a proof of each; high is the highest number that was sealed so
-- far. node is the one that sealed.
CREATE TABLE trail_seal (
    number    {int} PRIMARY KEY,
    high      {int} NOT NULL,
    events    {int} NOT NULL,
    sealed_at {int} NOT NULL,
    node      {text} NOT NULL,
    proofs    {bytes} NOT NULL,
    seal      {bytes} NOT NULL
);
CREATE INDEX trail_seal_high ON trail_seal (high, number);

-- How far the segments of each node reached, and when.
CREATE TABLE trail_head (
    chain    {text} PRIMARY KEY,
    noted_at {int} NOT NULL,
    body     {text} NOT NULL,
    seal     {bytes} NOT NULL
){clustered};
CREATE INDEX trail_head_noted ON trail_head (noted_at);
