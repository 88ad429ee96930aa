"""Rotates the password of one Amazon RDS for Db2 user, on AWS's rotation contract.

The function is invoked once per step with SecretId, ClientRequestToken, Step
and RotationToken. Every step may be repeated: one that has already had its
effect succeeds without a second one.

Db2 has no users of its own: RDS keeps them, and only the procedures of the
database rdsadmin change them. So a superuser does the work, whose complete
secret (engine, host, username, password) the member masterarn names.

The secret is a JSON object: engine (db2...), host, username, password,
dbname, masterarn, and optionally port (50000) and ssl (false). Environment:

  SECRETS_MANAGER_ENDPOINT  endpoint URL; the SDK's own default when unset
  STRATEGY                  single, or alternating between NAME and NAME_clone
  EXCLUDE_CHARACTERS        not used in passwords; /@"'\\;{} by default
  PASSWORD_LENGTH           32 by default
  DB2_CA_BUNDLE             authorities for secrets whose ssl is true
  SETTLE_SECONDS            how long a new password may take to work; 20

Layer or host must offer ibm_db, IBM's driver, and its CLI library.
"""

import json
import logging
import os
import time

import boto3
import ibm_db

logger = logging.getLogger()
logger.setLevel(logging.INFO)

ADMIN_DATABASE = "rdsadmin"
CLONE_SUFFIX = "_clone"
CLONE_LIMIT = 16
REQUIRED_KEYS = ("engine", "host", "username", "password", "dbname", "masterarn")
MASTER_KEYS = ("engine", "host", "username", "password")
# Columns of SYSCAT.DBAUTH that are not called as the authority is.
AUTHORITIES = {
    "EXTERNALROUTINE": "CREATE_EXTERNAL_ROUTINE",
    "IMPLSCHEMA": "IMPLICIT_SCHEMA",
    "NOFENCE": "CREATE_NOT_FENCED_ROUTINE",
    "QUIESCECONNECT": "QUIESCE_CONNECT",
    "SECURITYADM": "SECADM",
    "CREATESECURE": "CREATE_SECURE_OBJECT",
}


def lambda_handler(event, context):
    step, arn, token = event["Step"], event["SecretId"], event["ClientRequestToken"]
    client = boto3.client(
        "secretsmanager", endpoint_url=os.environ.get("SECRETS_MANAGER_ENDPOINT")
    )
    if step not in STEPS:
        raise ValueError(f"Invalid step parameter {step} for secret {arn}")
    if must_run(client, arn, token):
        STEPS[step](client, arn, token, event.get("RotationToken"))


def must_run(client, arn, token):
    """Tells whether the step has work to do; raises if it may not run."""
    described = client.describe_secret(SecretId=arn)
    if not described.get("RotationEnabled", True):
        raise ValueError(f"Secret {arn} is not enabled for rotation")
    stages = described.get("VersionIdsToStages", {}).get(token)
    if stages is None:
        raise ValueError(f"Secret version {token} has no stage for rotation of secret {arn}.")
    if "AWSCURRENT" in stages:
        logger.info("Secret version %s already set as AWSCURRENT for secret %s.", token, arn)
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
    if alternating():
        current["username"] = other_user(current["username"])
    current["password"] = new_password(client)
    proof = {"RotationToken": rotation_token} if takes_token(client, rotation_token) else {}
    client.put_secret_value(
        SecretId=arn,
        ClientRequestToken=token,
        SecretString=json.dumps(current),
        VersionStages=["AWSPENDING"],
        **proof,
    )
    logger.info("createSecret: Successfully put secret for ARN %s and version %s.", arn, token)


def new_password(client):
    return client.get_random_password(
        PasswordLength=int(os.environ.get("PASSWORD_LENGTH", "32")),
        ExcludeCharacters=os.environ.get("EXCLUDE_CHARACTERS", "/@\"'\\;{}"),
    )["RandomPassword"]


def takes_token(client, rotation_token):
    """SDKs from before 2024 do not know the RotationToken parameter."""
    shape = client.meta.service_model.operation_model("PutSecretValue").input_shape
    return bool(rotation_token) and "RotationToken" in shape.members


def alternating():
    return os.environ.get("STRATEGY", "single") == "alternating"


def other_user(user):
    """Names the other user of a pair."""
    if user.endswith(CLONE_SUFFIX):
        return user[: -len(CLONE_SUFFIX)]
    if len(user + CLONE_SUFFIX) > CLONE_LIMIT:
        raise ValueError(
            "Unable to clone user, username length with _clone appended would exceed"
            f" {CLONE_LIMIT} characters"
        )
    return user + CLONE_SUFFIX


def set_secret(client, arn, token, _):
    """Makes the database accept the pending password."""
    current = read(client, arn, "AWSCURRENT")
    pending = read(client, arn, "AWSPENDING", token)
    if logs_in(pending):
        logger.info(
            "setSecret: AWSPENDING secret is already set as password in Db2 DB for secret arn %s.",
            arn,
        )
        return
    refuse_other_user(current, pending)
    # Whoever may only write the secret must not take over users by the
    # superuser's hand.
    if not logs_in(current):
        raise ValueError(
            f"Unable to log into database using current credentials for secret {arn}"
        )
    master = read_master(client, current)
    with Connection(master, ADMIN_DATABASE) as admin:
        if not admin:
            raise ValueError(
                "Unable to log into rdsadmin database using credentials in master secret"
                f" {current['masterarn']}"
            )
        if alternating():
            # Once the pending password logs in, a repeated step takes all
            # as done: it comes after the authorities.
            add_user(admin, pending["username"], new_password(client))
            copy_authorities(master, current, pending["username"])
        admin.call("rdsadmin.change_password", pending["username"], pending["password"])
    settle(pending)
    logger.info(
        "setSecret: Successfully set password for user %s in Db2 DB for secret arn %s.",
        pending["username"],
        arn,
    )


def refuse_other_user(current, pending):
    """A pending value must name the user and host that it replaces."""
    expected = other_user(current["username"]) if alternating() else current["username"]
    if pending["username"] != expected:
        kind = "current user or clone" if alternating() else "current user"
        raise ValueError(
            f"Attempting to modify user {pending['username']} other than {kind}"
            f" {current['username']}"
        )
    if pending["host"] != current["host"]:
        raise ValueError(
            f"Attempting to modify user for host {pending['host']} other than current host"
            f" {current['host']}"
        )


def read_master(client, current):
    answer = client.get_secret_value(SecretId=current["masterarn"], VersionStage="AWSCURRENT")
    master = json.loads(answer["SecretString"])
    for key in MASTER_KEYS:
        if key not in master:
            raise KeyError(f"{key} key is missing from secret JSON")
    if master["host"] != current["host"]:
        raise ValueError(
            f"Current database host {current['host']} is not the same host as/rds replica of"
            f" master {master['host']}"
        )
    return master


def add_user(admin, user, password):
    """Makes the user unless RDS has it, and looks whether it has it then."""
    try:
        admin.call("rdsadmin.add_user", user, password, "group")
    except Refused as refusal:
        if "already exists" not in str(refusal):
            raise ValueError(f"Unable to create user {user}: {refusal}") from None
    listed = {str(cell).strip().upper() for row in admin.rows("call rdsadmin.list_users()") for cell in row.values()}
    if user.upper() not in listed:
        raise ValueError(f"User {user} does not exist in database")


def copy_authorities(master, current, user):
    """Gives the user what the current one may do in the database."""
    with Connection(master, current["dbname"]) as database:
        if not database:
            raise ValueError(
                "Unable to log into database using credentials in master secret"
                f" {current['masterarn']}"
            )
        rows = database.rows(
            "SELECT * FROM SYSCAT.DBAUTH WHERE GRANTEE = ? AND GRANTEETYPE = 'U'",
            current["username"].upper(),
        )
        for authority in authorities(rows):
            database.rows(f"GRANT {authority} ON DATABASE TO USER {quoted(user.upper())}")


def authorities(rows):
    """Names what rows of SYSCAT.DBAUTH say that a user holds."""
    held = {
        column[: -len("AUTH")]
        for row in rows
        for column, value in row.items()
        if column.endswith("AUTH") and value == "Y"
    }
    return sorted(AUTHORITIES.get(name, name) for name in held)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def settle(pending):
    """Waits until the password works, which RDS takes some seconds for."""
    deadline = time.monotonic() + float(os.environ.get("SETTLE_SECONDS", "20"))
    while not logs_in(pending):
        if time.monotonic() > deadline:
            raise ValueError(
                f"The new password of user {pending['username']} does not work yet; try again"
            )
        time.sleep(1)


def test_secret(client, arn, token, _):
    """Logs in with the pending password."""
    if not logs_in(read(client, arn, "AWSPENDING", token)):
        raise ValueError(f"Unable to log into database with pending secret of secret ARN {arn}")
    logger.info(
        "testSecret: Successfully signed into Db2 DB with AWSPENDING secret in %s.", arn
    )


def finish_secret(client, arn, token, _):
    """Moves AWSCURRENT to the new version; AWSPREVIOUS follows by itself."""
    stages = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
    holder = next((v for v, labels in stages.items() if "AWSCURRENT" in labels), None)
    client.update_secret_version_stage(
        SecretId=arn,
        VersionStage="AWSCURRENT",
        MoveToVersionId=token,
        RemoveFromVersionId=holder,
    )
    logger.info(
        "finishSecret: Successfully set AWSCURRENT stage to version %s for secret %s.", token, arn
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
    if not str(value["engine"]).startswith("db2"):
        raise KeyError(
            "Database engine must be set to 'db2' in order to use this rotation lambda"
        )
    return value


class Refused(Exception):
    """What Db2 said of a login or a statement that it did not obey.

    Statements hold no passwords: those are bound.
    """


class Connection:
    """A login for the time of a with statement; None when it is refused."""

    def __init__(self, value, database):
        self.value, self.database, self.handle = value, database, None

    def __enter__(self):
        try:
            self.handle = ibm_db.connect(connection_string(self.value, self.database), "", "")
        except ValueError:
            raise
        except Exception:
            # The exception's own text may repeat the connection string.
            logger.warning(
                "Login as '%s' to database %s refused: SQLSTATE %s",
                self.value["username"],
                self.database,
                ibm_db.conn_error() or "unknown",
            )
            return None
        logger.info(
            "Successfully established %s connection as user '%s' with host: '%s'",
            "SSL/TLS" if encrypted(self.value) else "non SSL/TLS",
            self.value["username"],
            self.value["host"],
        )
        return self

    def __exit__(self, *_):
        if self.handle:
            ibm_db.close(self.handle)

    def call(self, procedure, *values):
        marks = ", ".join("?" * len(values))
        self.rows(f"call {procedure}({marks})", *values)

    def rows(self, statement, *values):
        """Runs a statement and returns the rows of its result, if it has one."""
        try:
            prepared = ibm_db.prepare(self.handle, statement)
            ibm_db.execute(prepared, tuple(values))
            found = []
            if ibm_db.num_fields(prepared):
                row = ibm_db.fetch_assoc(prepared)
                while row:
                    found.append(row)
                    row = ibm_db.fetch_assoc(prepared)
            return found
        except Exception as failure:
            raise Refused(str(failure)) from None


def logs_in(value):
    with Connection(value, value["dbname"]) as connection:
        return connection is not None


def encrypted(value):
    return str(value.get("ssl", False)).lower() == "true"


def connection_string(value, database):
    """Writes a connection string, in which nothing can be quoted."""
    parts = {
        "DATABASE": database,
        "HOSTNAME": value["host"],
        "PORT": value.get("port", 50000),
        "PROTOCOL": "TCPIP",
        "UID": value["username"],
        "PWD": value["password"],
        "CONNECTTIMEOUT": 5,
    }
    if encrypted(value):
        parts["SECURITY"] = "SSL"
        parts["SSLSERVERCERTIFICATE"] = os.environ["DB2_CA_BUNDLE"]
        parts["SSLCLIENTHOSTNAMEVALIDATION"] = "BASIC"
    for key, text in parts.items():
        if any(c in str(text) for c in ";{}\0"):
            raise ValueError(f"{key} holds a character that Db2's connection strings cannot hold")
    return "".join(f"{key}={text};" for key, text in parts.items())
