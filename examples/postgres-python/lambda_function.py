"""Rotates the password of one PostgreSQL user, on AWS's rotation contract.

The function is invoked once per step with SecretId, ClientRequestToken, Step
and RotationToken. Every step reads what it needs afresh and may be repeated:
a step that has already had its effect succeeds without a second one.

The secret is a JSON object: engine, host, username, password, and optionally
port (5432), dbname (postgres) and ssl (true). Environment:

  SECRETS_MANAGER_ENDPOINT  endpoint URL; the SDK's own default when unset
  EXCLUDE_CHARACTERS        not used in passwords; :/@"'\\ by default
  PASSWORD_LENGTH           32 by default

Layer or host must offer psycopg2 built on libpq 10 or newer (SCRAM).
"""

import json
import logging
import os

import boto3
import psycopg2
from psycopg2 import sql

logger = logging.getLogger()
logger.setLevel(logging.INFO)

CA_BUNDLE = "/etc/pki/tls/cert.pem"
CONNECT_TIMEOUT_SECONDS = 5
REQUIRED_KEYS = ("engine", "host", "username", "password")
ENGINES = ("postgres", "aurora-postgresql")


def lambda_handler(event, context):
    step, arn, token = event["Step"], event["SecretId"], event["ClientRequestToken"]
    client = boto3.client(
        "secretsmanager", endpoint_url=os.environ.get("SECRETS_MANAGER_ENDPOINT")
    )
    if step not in STEPS:
        raise ValueError(f"Invalid step parameter {step} for secret {arn}")
    if not must_run(client, arn, token):
        return
    STEPS[step](client, arn, token, event.get("RotationToken"))


def must_run(client, arn, token):
    """Tells whether the step has work to do; raises if it may not run."""
    described = client.describe_secret(SecretId=arn)
    if not described.get("RotationEnabled"):
        raise ValueError(f"Secret {arn} is not enabled for rotation")
    stages = described.get("VersionIdsToStages", {}).get(token)
    if stages is None:
        raise ValueError(
            f"Secret version {token} has no stage for rotation of secret {arn}."
        )
    if "AWSCURRENT" in stages:
        logger.info(
            "Secret version %s already set as AWSCURRENT for secret %s.", token, arn
        )
        return False
    if "AWSPENDING" not in stages:
        raise ValueError(
            f"Secret version {token} not set as AWSPENDING for rotation of secret {arn}."
        )
    return True


def create_secret(client, arn, token, rotation_token):
    """Stores a new password under the token, unless one is there already."""
    current = read(client, arn, "AWSCURRENT")
    try:
        read(client, arn, "AWSPENDING", token)
        logger.info("createSecret: Successfully retrieved secret for %s.", arn)
        return
    except client.exceptions.ResourceNotFoundException:
        pass
    current["password"] = client.get_random_password(
        PasswordLength=int(os.environ.get("PASSWORD_LENGTH", "32")),
        ExcludeCharacters=os.environ.get("EXCLUDE_CHARACTERS", ":/@\"'\\"),
    )["RandomPassword"]
    proof = {"RotationToken": rotation_token} if takes_token(client, rotation_token) else {}
    client.put_secret_value(
        SecretId=arn,
        ClientRequestToken=token,
        SecretString=json.dumps(current),
        VersionStages=["AWSPENDING"],
        **proof,
    )
    logger.info(
        "createSecret: Successfully put secret for ARN %s and version %s.", arn, token
    )


def takes_token(client, rotation_token):
    """SDKs from before 2024 do not know the RotationToken parameter."""
    shape = client.meta.service_model.operation_model("PutSecretValue").input_shape
    return bool(rotation_token) and "RotationToken" in shape.members


def set_secret(client, arn, token, _):
    """Makes the database accept the pending password."""
    pending = read(client, arn, "AWSPENDING", token)
    connection = connect(pending)
    if connection:
        connection.close()
        logger.info(
            "setSecret: AWSPENDING secret is already set as password in PostgreSQL DB"
            " for secret arn %s.",
            arn,
        )
        return
    for stage in ("AWSCURRENT", "AWSPREVIOUS"):
        known = read_if_present(client, arn, stage)
        connection = connect(known) if known else None
        if connection:
            break
    if not connection:
        raise ValueError(
            "Unable to log into database with previous, current, or pending secret of"
            f" secret arn {arn}"
        )
    refuse_other_user(known, pending)
    # The connection's context commits; only leaving it for good closes.
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("ALTER USER {} WITH PASSWORD {}").format(
                    sql.Identifier(pending["username"]), sql.Literal(pending["password"])
                )
            )
    finally:
        connection.close()
    logger.info(
        "setSecret: Successfully set password for user %s in PostgreSQL DB for secret arn %s.",
        pending["username"],
        arn,
    )


def refuse_other_user(known, pending):
    """A pending value must name the user and host that it replaces."""
    for key, what in (("username", "user"), ("host", "user for host")):
        if known[key] != pending[key]:
            raise ValueError(
                f"Attempting to modify {what} {pending[key]} other than current {known[key]}"
            )


def test_secret(client, arn, token, _):
    """Logs in with the pending password and runs a harmless query."""
    connection = connect(read(client, arn, "AWSPENDING", token))
    if not connection:
        raise ValueError(
            f"Unable to log into database with pending secret of secret ARN {arn}"
        )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT NOW()")
    finally:
        connection.close()
    logger.info(
        "testSecret: Successfully signed into PostgreSQL DB with AWSPENDING secret in %s.",
        arn,
    )


def finish_secret(client, arn, token, _):
    """Moves AWSCURRENT to the new version; AWSPREVIOUS follows by itself."""
    stages = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
    holder = next((v for v, labels in stages.items() if "AWSCURRENT" in labels), None)
    if holder == token:
        logger.info(
            "finishSecret: Version %s already marked as AWSCURRENT for %s", token, arn
        )
        return
    client.update_secret_version_stage(
        SecretId=arn,
        VersionStage="AWSCURRENT",
        MoveToVersionId=token,
        RemoveFromVersionId=holder,
    )
    logger.info(
        "finishSecret: Successfully set AWSCURRENT stage to version %s for secret %s.",
        token,
        arn,
    )


STEPS = {
    "createSecret": create_secret,
    "setSecret": set_secret,
    "testSecret": test_secret,
    "finishSecret": finish_secret,
}


def read(client, arn, stage, token=None):
    """Reads and checks one version of the secret."""
    which = {"VersionId": token} if token else {}
    answer = client.get_secret_value(SecretId=arn, VersionStage=stage, **which)
    value = json.loads(answer["SecretString"])
    for key in REQUIRED_KEYS:
        if key not in value:
            raise KeyError(f"{key} key is missing from secret JSON")
    if value["engine"] not in ENGINES:
        raise KeyError(
            "Database engine must be set to 'postgres' in order to use this rotation lambda"
        )
    return value


def read_if_present(client, arn, stage):
    try:
        return read(client, arn, stage)
    except (client.exceptions.ResourceNotFoundException, KeyError, ValueError):
        return None


def connect(value):
    """Returns a connection, or None when the server refuses the login.

    The reason is logged: libpq's message names user, host and cause, never
    the password.
    """
    ssl = str(value.get("ssl", True)).lower() != "false"
    try:
        connection = psycopg2.connect(
            host=value["host"],
            port=int(value.get("port", 5432)),
            user=value["username"],
            password=value["password"],
            dbname=value.get("dbname", "postgres"),
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            sslmode="verify-full" if ssl else "disable",
            sslrootcert=CA_BUNDLE if ssl else None,
        )
    except psycopg2.OperationalError as refusal:
        logger.warning("Login as '%s' refused: %s", value["username"], str(refusal).strip())
        return None
    logger.info(
        "Successfully established %s connection as user '%s' with host: '%s'",
        "SSL/TLS" if ssl else "non SSL/TLS",
        value["username"],
        value["host"],
    )
    return connection
