// Rotates the password of one PostgreSQL user, on AWS's rotation contract.
//
// The secret is a JSON object: engine, host, username, password, and
// optionally port, dbname and ssl. A layer (or node_modules beside this file)
// offers @aws-sdk/client-secrets-manager and pg. Each step may be repeated.

import { readFileSync } from "node:fs";
import {
  DescribeSecretCommand,
  GetRandomPasswordCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
  UpdateSecretVersionStageCommand,
} from "@aws-sdk/client-secrets-manager";
import pg from "pg";

const CA_BUNDLE = "/etc/pki/tls/cert.pem";
const CONNECT_TIMEOUT_MS = 5000;
const AUTHENTICATION_FAILURES = new Set(["28000", "28P01"]);

const client = new SecretsManagerClient({
  endpoint: process.env.SECRETS_MANAGER_ENDPOINT,
});

export async function handler(event) {
  const { Step: step, SecretId: arn, ClientRequestToken: token, RotationToken: proof } = event;
  const run = STEPS[step];
  if (!run) throw new Error(`Invalid step parameter ${step} for secret ${arn}`);
  if (await mustRun(arn, token)) await run(arn, token, proof);
}

async function mustRun(arn, token) {
  const described = await client.send(new DescribeSecretCommand({ SecretId: arn }));
  if (!described.RotationEnabled) throw new Error(`Secret ${arn} is not enabled for rotation`);
  const stages = described.VersionIdsToStages?.[token];
  if (!stages) throw new Error(`Secret version ${token} has no stage for rotation of secret ${arn}.`);
  if (stages.includes("AWSCURRENT")) {
    console.log(`Secret version ${token} already set as AWSCURRENT for secret ${arn}.`);
    return false;
  }
  if (!stages.includes("AWSPENDING")) {
    throw new Error(`Secret version ${token} not set as AWSPENDING for rotation of secret ${arn}.`);
  }
  return true;
}

async function createSecret(arn, token, proof) {
  const current = await read(arn, "AWSCURRENT");
  if (await readIfPresent(arn, "AWSPENDING", token)) {
    console.log(`createSecret: Successfully retrieved secret for ${arn}.`);
    return;
  }
  const { RandomPassword: password } = await client.send(
    new GetRandomPasswordCommand({
      PasswordLength: Number(process.env.PASSWORD_LENGTH ?? 32),
      ExcludeCharacters: process.env.EXCLUDE_CHARACTERS ?? ":/@\"'\\",
    }),
  );
  await client.send(
    new PutSecretValueCommand({
      SecretId: arn,
      ClientRequestToken: token,
      SecretString: JSON.stringify({ ...current, password }),
      VersionStages: ["AWSPENDING"],
      RotationToken: proof,
    }),
  );
  console.log(`createSecret: Successfully put secret for ARN ${arn} and version ${token}.`);
}

async function setSecret(arn, token) {
  const pending = await read(arn, "AWSPENDING", token);
  const already = await connect(pending);
  if (already) {
    await already.end();
    console.log(`setSecret: AWSPENDING secret is already set as password in PostgreSQL DB for secret arn ${arn}.`);
    return;
  }
  for (const stage of ["AWSCURRENT", "AWSPREVIOUS"]) {
    const known = await readIfPresent(arn, stage);
    const connection = known && (await connect(known));
    if (!connection) continue;
    try {
      if (known.username !== pending.username || known.host !== pending.host) {
        throw new Error(`Attempting to modify user ${pending.username} other than current user ${known.username}`);
      }
      const user = pg.escapeIdentifier(pending.username);
      await connection.query(`ALTER USER ${user} WITH PASSWORD ${pg.escapeLiteral(pending.password)}`);
    } finally {
      await connection.end();
    }
    console.log(`setSecret: Successfully set password for user ${pending.username} in PostgreSQL DB for secret arn ${arn}.`);
    return;
  }
  throw new Error(`Unable to log into database with previous, current, or pending secret of secret arn ${arn}`);
}

async function testSecret(arn, token) {
  const connection = await connect(await read(arn, "AWSPENDING", token));
  if (!connection) throw new Error(`Unable to log into database with pending secret of secret ARN ${arn}`);
  try {
    await connection.query("SELECT NOW()");
  } finally {
    await connection.end();
  }
  console.log(`testSecret: Successfully signed into PostgreSQL DB with AWSPENDING secret in ${arn}.`);
}

async function finishSecret(arn, token) {
  const { VersionIdsToStages: stages } = await client.send(new DescribeSecretCommand({ SecretId: arn }));
  const holder = Object.keys(stages).find((id) => stages[id].includes("AWSCURRENT"));
  if (holder === token) {
    console.log(`finishSecret: Version ${token} already marked as AWSCURRENT for ${arn}`);
    return;
  }
  await client.send(
    new UpdateSecretVersionStageCommand({
      SecretId: arn,
      VersionStage: "AWSCURRENT",
      MoveToVersionId: token,
      RemoveFromVersionId: holder,
    }),
  );
  console.log(`finishSecret: Successfully set AWSCURRENT stage to version ${token} for secret ${arn}.`);
}

const STEPS = { createSecret, setSecret, testSecret, finishSecret };

async function read(arn, stage, token) {
  const answer = await client.send(
    new GetSecretValueCommand({ SecretId: arn, VersionStage: stage, VersionId: token }),
  );
  const value = JSON.parse(answer.SecretString);
  for (const key of ["engine", "host", "username", "password"]) {
    if (!(key in value)) throw new Error(`${key} key is missing from secret JSON`);
  }
  return value;
}

async function readIfPresent(arn, stage, token) {
  try {
    return await read(arn, stage, token);
  } catch (failure) {
    if (failure.name === "ResourceNotFoundException") return undefined;
    throw failure;
  }
}

// Returns undefined when the server refuses the login; other failures throw.
async function connect(value) {
  const ssl = String(value.ssl ?? true).toLowerCase() !== "false";
  const connection = new pg.Client({
    host: value.host,
    port: Number(value.port ?? 5432),
    user: value.username,
    password: value.password,
    database: value.dbname ?? "postgres",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    ssl: ssl && { ca: readFileSync(CA_BUNDLE), rejectUnauthorized: true },
  });
  try {
    await connection.connect();
    return connection;
  } catch (failure) {
    if (!AUTHENTICATION_FAILURES.has(failure.code)) throw failure;
    console.warn(`Login as '${value.username}' refused: ${failure.message}`);
    return undefined;
  }
}
