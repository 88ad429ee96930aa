// A secret that a function with inline code rotates: a stack without assets.
const cdk = require('aws-cdk-lib');
const lambda = require('aws-cdk-lib/aws-lambda');
const secretsmanager = require('aws-cdk-lib/aws-secretsmanager');

const app = new cdk.App();
const stack = new cdk.Stack(app, 'Rotation', {
  synthesizer: new cdk.LegacyStackSynthesizer(),
  env: { account: process.env.CDK_DEFAULT_ACCOUNT, region: process.env.CDK_DEFAULT_REGION },
});
const secret = new secretsmanager.Secret(stack, 'Secret', {
  generateSecretString: { secretStringTemplate: '{"username":"app"}', generateStringKey: 'password' },
});
const rotator = new lambda.Function(stack, 'Rotator', {
  runtime: new lambda.Runtime(process.env.RUNTIME, lambda.RuntimeFamily.PYTHON, { supportsInlineCode: true }),
  handler: 'index.handler',
  timeout: cdk.Duration.seconds(30),
  code: lambda.Code.fromInline(`
import boto3, json

def handler(event, context):
    sm = boto3.client("secretsmanager")
    arn, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    if step == "createSecret":
        password = sm.get_random_password(ExcludePunctuation=True)["RandomPassword"]
        sm.put_secret_value(SecretId=arn, ClientRequestToken=token, VersionStages=["AWSPENDING"],
                            SecretString=json.dumps({"username": "app", "password": password, "rotated": True}))
    if step == "finishSecret":
        stages = sm.describe_secret(SecretId=arn)["VersionIdsToStages"]
        current = next(v for v, labels in stages.items() if "AWSCURRENT" in labels)
        if current != token:
            sm.update_secret_version_stage(SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)
`),
});
secret.grantRead(rotator);
secret.grantWrite(rotator);
secret.addRotationSchedule('Schedule', { rotationLambda: rotator, automaticallyAfter: cdk.Duration.days(7) });
new cdk.CfnOutput(stack, 'Arn', { value: secret.secretArn });
