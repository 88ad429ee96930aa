"""Functions that are wrong in one way each, which the variable BUG names.

Everything else is that of the example for PostgreSQL, in the module good.
"""

import json
import os
import urllib.request

import boto3
import psycopg2
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from psycopg2 import sql

import good

read, connect, put = good.read, good.connect, good.create_secret


def fresh(client, arn):
    value = read(client, arn, "AWSCURRENT")
    value["password"] = client.get_random_password(ExcludePunctuation=True)["RandomPassword"]
    return value


def store(client, arn, token, value, **more):
    client.put_secret_value(
        SecretId=arn, ClientRequestToken=token, SecretString=json.dumps(value), VersionStages=["AWSPENDING"], **more
    )


def create_without_looking(client, arn, token, _):
    store(client, arn, token, fresh(client, arn))


def set_password(old, new):
    connection = connect(old)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("ALTER USER {} WITH PASSWORD {}").format(sql.Identifier(new["username"]), sql.Literal(new["password"]))
        )
    connection.close()


def create_after_setting(client, arn, token, _):
    if good.read_if_present(client, arn, "AWSPENDING"):
        return
    value = fresh(client, arn)
    set_password(read(client, arn, "AWSCURRENT"), value)
    store(client, arn, token, value)


def create_and_set(client, arn, token, proof):
    put(client, arn, token, proof)
    good.set_secret(client, arn, token, proof)


def set_and_log(client, arn, token, proof):
    print("setting", read(client, arn, "AWSPENDING", token))
    right_set(client, arn, token, proof)


def create_without_token(client, arn, token, _):
    """Stores the value by a request that no SDK makes."""
    if good.read_if_present(client, arn, "AWSPENDING"):
        return
    body = json.dumps({
        "SecretId": arn, "ClientRequestToken": token, "SecretString": json.dumps(fresh(client, arn)), "VersionStages": ["AWSPENDING"],
    })
    session = boto3.session.Session()
    request = AWSRequest("POST", os.environ["AWS_ENDPOINT_URL"] + "/", data=body, headers={
        "X-Amz-Target": "secretsmanager.PutSecretValue", "Content-Type": "application/x-amz-json-1.1",
    })
    SigV4Auth(session.get_credentials(), "secretsmanager", os.environ["AWS_REGION"]).add_auth(request)
    urllib.request.urlopen(
        urllib.request.Request(request.url, data=body.encode(), headers=dict(request.headers), method="POST")
    ).read()


def swallow(client, arn, token, proof):
    try:
        right_set(client, arn, token, proof)
    except Exception as failure:
        print("setSecret did not work:", type(failure).__name__)


def nothing(*_):
    pass


def promote_at_once(client, arn, token, proof):
    right_set(client, arn, token, proof)
    good.finish_secret(client, arn, token, proof)


def read_any(client, arn, stage, token=None):
    which = {"VersionId": token} if token else {"VersionStage": stage}
    return json.loads(client.get_secret_value(SecretId=arn, **which)["SecretString"])


def connect_by_url(value):
    try:
        return psycopg2.connect(
            f"postgresql://{value['username']}:{value['password']}@{value['host']}:{value['port']}/postgres"
            "?sslmode=verify-full&sslrootcert=/etc/pki/tls/cert.pem"
        )
    except psycopg2.Error:
        return None


def create_elsewhere(client, arn, token, _):
    client.put_secret_value(SecretId=arn, SecretString=json.dumps(fresh(client, arn)), VersionStages=["AWSPENDING"])


def set_another(client, arn, token, proof):
    value = read(client, arn, "AWSPENDING", token)
    value["password"] = fresh(client, arn)["password"]
    set_password(read(client, arn, "AWSCURRENT"), value)
    client.put_secret_value(SecretId=arn, SecretString=json.dumps(value), VersionStages=["AWSPENDING"])


def set_by_current(client, arn, token, _):
    set_password(read(client, arn, "AWSCURRENT"), read(client, arn, "AWSPENDING", token))


def set_real_user(client, arn, token, proof):
    """Changes the user that the shadow is a member of."""
    right_set(client, arn, token, proof)
    connection = connect(read(client, arn, "AWSPENDING", token))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_userbyid(roleid) FROM pg_auth_members WHERE member = (SELECT oid FROM pg_roles WHERE rolname = current_user)")
        real = sql.Identifier(cursor.fetchone()[0])
        cursor.execute(sql.SQL("SET ROLE {}").format(real))
        cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD 'known to nobody'").format(real))
    connection.close()


right_set = good.set_secret
BUGS = {
    "wrong-version": {"createSecret": create_elsewhere},
    "changes-pending": {"setSecret": set_another},
    "sets-by-current-only": {"setSecret": set_by_current},
    "logs-event": {},
    "": {},
    "not-idempotent": {"createSecret": create_without_looking},
    "set-before-store": {"createSecret": create_after_setting, "setSecret": nothing},
    "set-in-create": {"createSecret": create_and_set},
    "logs-secret": {"setSecret": set_and_log},
    "no-rotation-token": {"createSecret": create_without_token},
    "promotes-untested": {"testSecret": nothing},
    "promotes-early": {"setSecret": promote_at_once},
    "swallows-errors": {"setSecret": swallow},
    "sets-nothing": {"setSecret": nothing},
    "does-not-promote": {"finishSecret": nothing},
    "stores-nothing": {"createSecret": nothing},
    "ignores-labels": {},
    "breaks-on-punctuation": {},
    "changes-real-user": {"setSecret": set_real_user},
}


def lambda_handler(event, context):
    bug = os.environ["BUG"]
    good.STEPS.update(BUGS[bug])
    if bug == "ignores-labels":
        good.must_run, good.read = lambda *_: True, read_any
    if bug == "breaks-on-punctuation":
        good.connect = connect_by_url
    if bug == "promotes-untested" and event["Step"] == "testSecret":
        return
    if bug == "logs-event":
        print(event)
    return good.lambda_handler(event, context)
