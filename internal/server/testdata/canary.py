"""The example's rotation, watched and made to fail.

It tells the database RECORD the RotationToken of each event. What RAISE_IN
names fails with the secret's pending or current value in an exception, in the
way that RAISE_HOW says.
"""

import json
import os

import boto3
import psycopg2

import lambda_function as rotation


def lambda_handler(event, context):
    if "Step" not in event:
        return event  # an echo
    with psycopg2.connect(os.environ["RECORD"]) as record, record.cursor() as cursor:
        cursor.execute("INSERT INTO seen (token) VALUES (%s)", (event["RotationToken"],))
    if event["Step"] == os.environ.get("RAISE_IN"):
        fail(event)
    rotation.lambda_handler(event, context)


def fail(event):
    client = boto3.client("secretsmanager")
    stage = "AWSCURRENT" if event["Step"] == "createSecret" else "AWSPENDING"
    value = client.get_secret_value(SecretId=event["SecretId"], VersionStage=stage)["SecretString"]
    password = json.loads(value)["password"]
    how = os.environ["RAISE_HOW"]
    if how == "raise":
        raise ValueError("no login with " + value)
    if how == "exit":
        raise SystemExit("no login with " + password)
    if how == "name":
        raise type("NoLoginWith" + password, (Exception,), {})(password)
    if how == "misuse":
        # The server refuses it; the refusal must not repeat the value.
        client.put_secret_value(
            SecretId=event["SecretId"],
            ClientRequestToken=event["ClientRequestToken"],
            SecretString="another " + value,
            VersionStages=["AWSPENDING"],
        )
