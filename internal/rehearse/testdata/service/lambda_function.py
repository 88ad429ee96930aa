"""Rotates the password of a user of the service in service.py."""

import json
import socket

import boto3

client = boto3.client("secretsmanager")


def ask(secret, **more):
    with socket.create_connection((secret["host"], int(secret["port"])), timeout=3) as connection:
        question = {"user": secret["username"], "password": secret["password"], **more}
        connection.sendall(json.dumps(question).encode() + b"\n")
        return connection.makefile().readline().strip() == "yes"


def read(arn, **which):
    return json.loads(client.get_secret_value(SecretId=arn, **which)["SecretString"])


def lambda_handler(event, context):
    arn, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    stages = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
    if "AWSCURRENT" in stages[token]:
        return
    if "AWSPENDING" not in stages[token]:
        raise ValueError("the version is not pending")
    if step == "createSecret":
        try:
            read(arn, VersionId=token, VersionStage="AWSPENDING")
            return
        except client.exceptions.ResourceNotFoundException:
            pass
        value = read(arn, VersionStage="AWSCURRENT")
        value["password"] = client.get_random_password()["RandomPassword"]
        client.put_secret_value(
            SecretId=arn, ClientRequestToken=token, SecretString=json.dumps(value), VersionStages=["AWSPENDING"]
        )
        return
    pending = read(arn, VersionId=token, VersionStage="AWSPENDING")
    if step == "setSecret":
        if not ask(pending) and not ask(read(arn, VersionStage="AWSCURRENT"), new=pending["password"]):
            raise ValueError("no version logs in")
    if step == "testSecret" and not ask(pending):
        raise ValueError("the pending version does not log in")
    if step == "finishSecret":
        current = next(version for version, labels in stages.items() if "AWSCURRENT" in labels)
        client.update_secret_version_stage(
            SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current
        )
