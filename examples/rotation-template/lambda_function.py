"""A rotation function to complete, on AWS's rotation contract.

createSecret and finishSecret are ready; setSecret and testSecret are yours.
To complete it:

  1. In set_secret, make the pending password the one that your service or
     database accepts.
  2. In test_secret, use the pending password once, as your application will.
  3. If the secret is more than a password, change create_secret: as it is,
     the whole secret is one random password.

The function is invoked once per step, with SecretId, ClientRequestToken,
Step and RotationToken. Every step may be repeated, after a crash or a
timeout: one that has already had its effect must succeed without a second
one, and must fail, by raising, unless all of it was done.

Environment:

  SECRETS_MANAGER_ENDPOINT  endpoint URL; the SDK's own default when unset
  EXCLUDE_CHARACTERS        not used in passwords; :/@"'\\ by default
"""

import logging
import os

import boto3

logger = logging.getLogger()
logger.setLevel(logging.INFO)


def lambda_handler(event, context):
    arn = event["SecretId"]
    token = event["ClientRequestToken"]
    step = event["Step"]
    client = boto3.client(
        "secretsmanager", endpoint_url=os.environ.get("SECRETS_MANAGER_ENDPOINT")
    )
    if not must_run(client, arn, token):
        return
    if step == "createSecret":
        create_secret(client, arn, token, event.get("RotationToken"))
    elif step == "setSecret":
        set_secret(client, arn, token)
    elif step == "testSecret":
        test_secret(client, arn, token)
    elif step == "finishSecret":
        finish_secret(client, arn, token)
    else:
        raise ValueError("Invalid step parameter")


def must_run(client, arn, token):
    """Tells whether the step has work to do; raises if it may not run."""
    described = client.describe_secret(SecretId=arn)
    if not described.get("RotationEnabled"):
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
    read(client, arn, "AWSCURRENT")  # a secret without a value cannot be rotated
    try:
        read(client, arn, "AWSPENDING", token)
        logger.info("createSecret: Successfully retrieved secret for %s.", arn)
        return
    except client.exceptions.ResourceNotFoundException:
        pass
    password = client.get_random_password(
        ExcludeCharacters=os.environ.get("EXCLUDE_CHARACTERS", ":/@\"'\\")
    )["RandomPassword"]
    proof = {"RotationToken": rotation_token} if takes_token(client, rotation_token) else {}
    client.put_secret_value(
        SecretId=arn,
        ClientRequestToken=token,
        SecretString=password,
        VersionStages=["AWSPENDING"],
        **proof,
    )
    logger.info("createSecret: Successfully put secret for ARN %s and version %s.", arn, token)


def takes_token(client, rotation_token):
    """SDKs from before 2024 do not know the RotationToken parameter."""
    shape = client.meta.service_model.operation_model("PutSecretValue").input_shape
    return bool(rotation_token) and "RotationToken" in shape.members


def set_secret(client, arn, token):
    """Makes the service accept the pending password."""
    # pending = read(client, arn, "AWSPENDING", token)
    # current = read(client, arn, "AWSCURRENT")
    raise NotImplementedError(
        "setSecret is yours to write: give the pending password to your service"
        " (set_secret in lambda_function.py)"
    )


def test_secret(client, arn, token):
    """Uses the pending password once; raises if it does not work."""
    # pending = read(client, arn, "AWSPENDING", token)
    raise NotImplementedError(
        "testSecret is yours to write: log in to your service with the pending"
        " password (test_secret in lambda_function.py)"
    )


def finish_secret(client, arn, token):
    """Moves AWSCURRENT to the new version; AWSPREVIOUS follows by itself."""
    stages = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
    holder = next((v for v, labels in stages.items() if "AWSCURRENT" in labels), None)
    if holder == token:
        logger.info("finishSecret: Version %s already marked as AWSCURRENT for %s", holder, arn)
        return
    client.update_secret_version_stage(
        SecretId=arn,
        VersionStage="AWSCURRENT",
        MoveToVersionId=token,
        RemoveFromVersionId=holder,
    )
    logger.info(
        "finishSecret: Successfully set AWSCURRENT stage to version %s for secret %s.", token, arn
    )


def read(client, arn, stage, token=None):
    """Returns the text of one version of the secret."""
    which = {"VersionId": token} if token else {}
    return client.get_secret_value(SecretId=arn, VersionStage=stage, **which)["SecretString"]
