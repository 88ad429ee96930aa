#!/bin/sh
# A rotation function of your own, for a PostgreSQL password, in a VPC: what
# AWS's instructions say, command by command. Point the AWS CLI at Keyturn
# (AWS_ENDPOINT_URL, AWS_REGION, credentials), or at AWS itself.
#
#   DB_HOST, DB_PORT, DB_NAME, DB_USER   where the password is to be changed
#   DB_PASSWORD                          what it is now
#
# It needs python3, curl and psql.
set -eu

: "${DB_HOST:?}" "${DB_PORT:?}" "${DB_NAME:?}" "${DB_USER:?}" "${DB_PASSWORD:?}"
: "${AWS_REGION:?}"
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() { printf '\n== %s\n' "$*"; }

step "What is there before: a secret, and a VPC with a subnet and security groups"
aws secretsmanager create-secret --name MySecret --secret-string "$DB_PASSWORD" --query ARN --output text
VPC=$(aws ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId --output text)
aws ec2 modify-vpc-attribute --vpc-id "$VPC" --enable-dns-hostnames '{"Value":true}'
SUBNET=$(aws ec2 create-subnet --vpc-id "$VPC" --cidr-block 10.0.1.0/24 --query Subnet.SubnetId --output text)
FUNCTION_GROUP=$(aws ec2 create-security-group --vpc-id "$VPC" --group-name rotation \
  --description "Rotation functions" --query GroupId --output text)
ENDPOINT_GROUP=$(aws ec2 create-security-group --vpc-id "$VPC" --group-name endpoint \
  --description "Endpoint of Secrets Manager" --query GroupId --output text)
aws ec2 authorize-security-group-ingress --group-id "$ENDPOINT_GROUP" --protocol tcp --port 443 \
  --source-group "$FUNCTION_GROUP" --query Return --output text
echo "$VPC $SUBNET $FUNCTION_GROUP $ENDPOINT_GROUP"

step "1. Create the function from the template SecretsManagerRotationTemplate"
CHANGE_SET=$(aws serverlessrepo create-cloud-formation-change-set \
  --application-id arn:aws:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRotationTemplate \
  --stack-name MyLambdaCreationStack \
  --parameter-overrides "[{\"Name\":\"endpoint\",\"Value\":\"https://secretsmanager.$AWS_REGION.amazonaws.com\"},{\"Name\":\"functionName\",\"Value\":\"MySecretRotation\"}]" \
  --capabilities CAPABILITY_IAM CAPABILITY_RESOURCE_POLICY \
  --query ChangeSetId --output text)
aws cloudformation wait change-set-create-complete --change-set-name "$CHANGE_SET"
aws cloudformation execute-change-set --change-set-name "$CHANGE_SET"
aws cloudformation wait stack-create-complete --stack-name serverlessrepo-MyLambdaCreationStack
aws lambda list-functions --query 'Functions[].FunctionName' --output text
FUNCTION=$(aws cloudformation describe-stacks --stack-name serverlessrepo-MyLambdaCreationStack \
  --query "Stacks[0].Outputs[?OutputKey=='RotationLambdaARN'].OutputValue" --output text)
echo "$FUNCTION"

step "2. Write setSecret and testSecret"
LOCATION=$(aws lambda get-function --function-name MySecretRotation --query Code.Location --output text)
curl -fsS -o "$work/downloaded.zip" "$LOCATION"
python3 -m zipfile -e "$work/downloaded.zip" "$work/code"
sed -i '/^def set_secret/,/^def finish_secret/{/^def finish_secret/!d;}' "$work/code/lambda_function.py"
sed -e "s/@HOST@/$DB_HOST/" -e "s/@PORT@/$DB_PORT/" -e "s/@NAME@/$DB_NAME/" -e "s/@USER@/$DB_USER/" \
  "$here/postgres_steps.py" >> "$work/code/lambda_function.py"
python3 -m zipfile -c "$work/function.zip" "$work/code/lambda_function.py"
aws lambda update-function-code --function-name MySecretRotation --zip-file "fileb://$work/function.zip" \
  --query LastUpdateStatus --output text
aws lambda wait function-updated-v2 --function-name MySecretRotation

step "3. Put the function into the VPC"
aws lambda update-function-configuration --function-name MySecretRotation \
  --vpc-config "SubnetIds=$SUBNET,SecurityGroupIds=$FUNCTION_GROUP" --query VpcConfig.VpcId --output text
aws lambda wait function-updated-v2 --function-name MySecretRotation

step "4. Let the function reach Secrets Manager from the VPC"
aws ec2 create-vpc-endpoint --vpc-id "$VPC" --vpc-endpoint-type Interface \
  --service-name "com.amazonaws.$AWS_REGION.secretsmanager" --subnet-ids "$SUBNET" \
  --security-group-ids "$ENDPOINT_GROUP" --query VpcEndpoint.VpcEndpointId --output text

step "5. Let Secrets Manager invoke the function"
aws lambda add-permission --function-name MySecretRotation --principal secretsmanager.amazonaws.com \
  --action lambda:InvokeFunction --statement-id SecretsManagerAccess --output text

step "6. Rotate the secret, now and every seven days"
VERSION=$(aws secretsmanager rotate-secret --secret-id MySecret --rotation-lambda-arn "$FUNCTION" \
  --rotation-rules AutomaticallyAfterDays=7 --query VersionId --output text)

step "7. Verify: the new version is the current one, and its password logs in"
tries=0
until [ "$(aws secretsmanager describe-secret --secret-id MySecret \
  --query "contains(VersionIdsToStages.\"$VERSION\" || \`[]\`, 'AWSCURRENT')" --output text)" = True ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || {
    aws logs filter-log-events --log-group-name /aws/lambda/MySecretRotation --query 'events[].message' --output text
    exit 1
  }
  sleep 1
done
aws secretsmanager describe-secret --secret-id MySecret --query '[RotationEnabled,RotationRules.AutomaticallyAfterDays]' --output text
PGPASSWORD=$(aws secretsmanager get-secret-value --secret-id MySecret --query SecretString --output text)
export PGPASSWORD
[ "$PGPASSWORD" != "$DB_PASSWORD" ]
psql -h "$DB_HOST" -p "$DB_PORT" -d "$DB_NAME" -U "$DB_USER" -Atc "SELECT 'logged in as ' || current_user"
