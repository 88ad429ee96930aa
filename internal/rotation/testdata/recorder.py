"""A rotation function without a service behind it that records its steps.

Each step leaves a row in the table step of the database RECORD: which node's
function ran it and when it began and ended. Environment:

  RECORD      connection string of PostgreSQL
  SLOW_STEP   a step that takes SLOW_SECONDS
  OTHER_ROLE  a role under which the new value is put
  PASS_TOKEN  "yes" to put it with the RotationToken

It signs its calls itself: that starts faster than an SDK does, and old SDKs
do not know RotationToken.
"""

import datetime
import hashlib
import hmac
import json
import os
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree

import psycopg2

NODE = os.environ["AWS_ENDPOINT_URL"]
REGION = os.environ["AWS_REGION"]


def lambda_handler(event, context):
    if event.get("Step") == "whichNode":  # asked by the test, not by a rotation
        return NODE
    step, token = event["Step"], event["ClientRequestToken"]
    record = psycopg2.connect(os.environ["RECORD"])
    record.autocommit = True
    cursor = record.cursor()
    cursor.execute(
        "INSERT INTO step (secret, token, name, node) VALUES (%s, %s, %s, %s) RETURNING id",
        (event["SecretId"], token, step, NODE),
    )
    row = cursor.fetchone()
    if step == os.environ.get("SLOW_STEP"):
        time.sleep(float(os.environ["SLOW_SECONDS"]))
    work(event)
    cursor.execute("UPDATE step SET ended = clock_timestamp() WHERE id = %s", row)
    record.close()


def work(event):
    arn, token = event["SecretId"], event["ClientRequestToken"]
    if event["Step"] == "createSecret":
        members = {
            "SecretId": arn,
            "ClientRequestToken": token,
            "SecretString": "new-" + token,
            "VersionStages": ["AWSPENDING"],
        }
        if os.environ.get("PASS_TOKEN") == "yes":
            members["RotationToken"] = event["RotationToken"]
        secrets("PutSecretValue", members, writer())
    if event["Step"] == "finishSecret":
        stages = secrets("DescribeSecret", {"SecretId": arn})["VersionIdsToStages"]
        current = next(v for v, labels in stages.items() if "AWSCURRENT" in labels)
        if current != token:
            secrets(
                "UpdateSecretVersionStage",
                {
                    "SecretId": arn,
                    "VersionStage": "AWSCURRENT",
                    "MoveToVersionId": token,
                    "RemoveFromVersionId": current,
                },
            )


def own():
    return [os.environ["AWS_" + n] for n in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")]


def writer():
    """The credentials that the value is put with."""
    if "OTHER_ROLE" not in os.environ:
        return own()
    body = urllib.parse.urlencode(
        {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": os.environ["OTHER_ROLE"],
            "RoleSessionName": "delegate",
        }
    )
    answer = call("sts", body, "application/x-www-form-urlencoded", {}, own())
    found = {e.tag.rpartition("}")[2]: e.text for e in xml.etree.ElementTree.fromstring(answer).iter()}
    return [found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]]


def secrets(operation, members, credentials=None):
    target = {"x-amz-target": "secretsmanager." + operation}
    answer = call(
        "secretsmanager", json.dumps(members), "application/x-amz-json-1.1", target, credentials or own()
    )
    return json.loads(answer)


def call(service, body, kind, headers, credentials):
    """Makes a call of an AWS API, signed with Signature Version 4."""
    now = datetime.datetime.utcnow().strftime("%Y%m%dT%H%M%SZ")
    headers = {
        **headers,
        "content-type": kind,
        "host": urllib.parse.urlsplit(NODE).netloc,
        "x-amz-date": now,
        "x-amz-security-token": credentials[2],
    }
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        ["POST", "/", ""]
        + [f"{name}:{headers[name]}" for name in sorted(headers)]
        + ["", names, hashlib.sha256(body.encode()).hexdigest()]
    )
    scope = f"{now[:8]}/{REGION}/{service}/aws4_request"
    text = "\n".join(
        ["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = ("AWS4" + credentials[1]).encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials[0]}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    request = urllib.request.Request(NODE + "/", body.encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()
