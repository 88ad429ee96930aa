"""Uses a server as boto3 users do; the environment says where it is.

Every check raises; reaching the end means success. argv[1] is the runtime
of this interpreter.
"""

import io
import json
import os
import sys
import zipfile

import boto3
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)


def client(name):
    return boto3.client(name, endpoint_url=ENDPOINT)


def expect(code, text, call, **arguments):
    try:
        call(**arguments)
    except ClientError as refusal:
        got = refusal.response["Error"]
        assert got["Code"] == code, got
        assert text in got["Message"], got
        return refusal.response
    raise AssertionError(f"{code} was expected")


def secrets_manager():
    sm = client("secretsmanager")
    made = sm.create_secret(
        Name="boto/one", SecretString="v1", Description="first", Tags=[{"Key": "k", "Value": "v"}]
    )
    assert made["ARN"].startswith("arn:aws:secretsmanager:us-east-1:123456789012:secret:boto/one-")
    got = sm.get_secret_value(SecretId="boto/one")
    assert got["SecretString"] == "v1" and got["VersionStages"] == ["AWSCURRENT"], got
    put = sm.put_secret_value(SecretId=made["ARN"], SecretBinary=b"\x00\x01")
    assert sm.get_secret_value(SecretId="boto/one")["SecretBinary"] == b"\x00\x01"
    assert sm.get_secret_value(SecretId="boto/one", VersionStage="AWSPREVIOUS")["SecretString"] == "v1"
    described = sm.describe_secret(SecretId="boto/one")
    assert described["VersionIdsToStages"][put["VersionId"]] == ["AWSCURRENT"], described
    assert "RotationEnabled" not in described and described["Tags"] == [{"Key": "k", "Value": "v"}]
    for i in range(12):
        sm.create_secret(Name=f"boto/page-{i:02}", SecretString="x")
    pages = sm.get_paginator("list_secrets").paginate(
        Filters=[{"Key": "name", "Values": ["boto/page-"]}], PaginationConfig={"PageSize": 5}
    )
    names = [s["Name"] for page in pages for s in page["SecretList"]]
    assert names == [f"boto/page-{i:02}" for i in range(12)], names
    if hasattr(sm, "batch_get_secret_value"):  # younger than Debian's boto3
        batch = sm.batch_get_secret_value(SecretIdList=["boto/page-01", "boto/none"])
        assert [v["Name"] for v in batch["SecretValues"]] == ["boto/page-01"], batch
        assert batch["Errors"][0]["ErrorCode"] == "ResourceNotFoundException", batch
    assert len(sm.get_random_password(PasswordLength=20)["RandomPassword"]) == 20
    answer = expect(
        "ResourceNotFoundException", "Secrets Manager can't find the specified secret.",
        sm.get_secret_value, SecretId="boto/none",
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400, answer
    expect("ResourceExistsException", "boto/one already exists", sm.create_secret, Name="boto/one", SecretString="x")
    expect("InvalidRequestException", "No Lambda rotation function", sm.rotate_secret, SecretId="boto/one")
    sm.delete_secret(SecretId="boto/one", RecoveryWindowInDays=7)
    expect("InvalidRequestException", "marked for deletion", sm.get_secret_value, SecretId="boto/one")
    sm.restore_secret(SecretId="boto/one")
    sm.get_secret_value(SecretId="boto/one")
    sm.delete_secret(SecretId="boto/one", ForceDeleteWithoutRecovery=True)


def functions(runtime):
    role = client("iam").create_role(RoleName="boto-role", AssumeRolePolicyDocument=TRUST)["Role"]
    assert role["AssumeRolePolicyDocument"]["Version"] == "2012-10-17", role
    client("iam").attach_role_policy(
        RoleName="boto-role", PolicyArn="arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    )
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as z:
        z.writestr(
            "lambda_function.py",
            "import boto3\n"
            "def lambda_handler(event, context):\n"
            "    print('called with', event['n'])\n"
            "    sts = boto3.client('sts')\n"  # finds the server unaided
            "    return {'n': event['n'] + 1, 'arn': sts.get_caller_identity()['Arn']}\n",
        )
    lam = client("lambda")
    made = lam.create_function(
        FunctionName="boto-fn", Runtime=runtime, Role=role["Arn"], Timeout=30,
        Handler="lambda_function.lambda_handler", Code={"ZipFile": package.getvalue()},
    )
    lam.get_waiter("function_active_v2").wait(FunctionName="boto-fn")
    answer = lam.invoke(FunctionName=made["FunctionArn"], Payload=b'{"n": 41}', LogType="Tail")
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    assert payload["n"] == 42, payload
    assert payload["arn"] == "arn:aws:sts::123456789012:assumed-role/boto-role/boto-fn", payload
    logs = client("logs")
    events = logs.filter_log_events(logGroupName="/aws/lambda/boto-fn", filterPattern='"called with"')["events"]
    assert [e["message"].strip() for e in events] == ["called with 41"], events
    stream = logs.describe_log_streams(logGroupName="/aws/lambda/boto-fn")["logStreams"][0]["logStreamName"]
    lines = logs.get_log_events(logGroupName="/aws/lambda/boto-fn", logStreamName=stream, startFromHead=True)["events"]
    assert any(line["message"].startswith("REPORT RequestId:") for line in lines), lines
    expect("ResourceNotFoundException", "Function not found", lam.invoke, FunctionName="boto-none")
    lam.update_function_configuration(FunctionName="boto-fn", Timeout=5)
    lam.get_waiter("function_updated_v2").wait(FunctionName="boto-fn")
    assert lam.publish_version(FunctionName="boto-fn")["Version"] == "1"
    lam.get_waiter("published_version_active").wait(FunctionName="boto-fn", Qualifier="1")
    lam.create_alias(FunctionName="boto-fn", Name="live", FunctionVersion="1")
    answer = lam.invoke(FunctionName="boto-fn", Qualifier="live", Payload=b'{"n": 1}')
    assert answer["ExecutedVersion"] == "1", answer
    lam.put_function_concurrency(FunctionName="boto-fn", ReservedConcurrentExecutions=0)
    refused = expect("TooManyRequestsException", "Rate Exceeded", lam.invoke, FunctionName="boto-fn")
    assert refused["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded", refused
    lam.delete_function(FunctionName="boto-fn")


def events():
    trail = client("cloudtrail")
    pages = trail.get_paginator("lookup_events").paginate(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "PutSecretValue"}]
    )
    found = [e for page in pages for e in page["Events"]]
    assert len(found) == 1, found
    record = json.loads(found[0]["CloudTrailEvent"])
    assert "secretBinary" not in json.dumps(record) and record["userIdentity"]["type"] == "Root", record
    identity = client("sts").get_caller_identity()
    assert identity["Arn"] == "arn:aws:iam::123456789012:root", identity


secrets_manager()
functions(sys.argv[1])
events()
