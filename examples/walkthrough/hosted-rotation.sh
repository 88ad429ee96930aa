#!/bin/sh
# Rotation by a template alone: hosted-rotation.yaml has a secret and a
# schedule with HostedRotationLambda. Point the AWS CLI at Keyturn
# (AWS_ENDPOINT_URL, AWS_REGION, credentials), or at AWS itself.
#
#   DB_HOST, DB_PORT, DB_NAME, DB_USER   where the password is to be changed
#   DB_PASSWORD                          what it is now
#
# It needs psql.
set -eu

: "${DB_HOST:?}" "${DB_PORT:?}" "${DB_NAME:?}" "${DB_USER:?}" "${DB_PASSWORD:?}"
here=$(cd "$(dirname "$0")" && pwd)

step() { printf '\n== %s\n' "$*"; }

# current waits until a version is the current one.
current() {
  tries=0
  until [ "$(aws secretsmanager describe-secret --secret-id HostedSecret \
    --query "contains(VersionIdsToStages.\"$1\" || \`[]\`, 'AWSCURRENT')" --output text)" = True ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || {
      aws logs filter-log-events --log-group-name /aws/lambda/HostedRotation --query 'events[].message' --output text
      exit 1
    }
    sleep 1
  done
}

step "1. Deploy: the first rotation starts with the schedule"
aws cloudformation deploy --template-file "$here/hosted-rotation.yaml" --stack-name hosted \
  --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND \
  --parameter-overrides "Host=$DB_HOST" "Port=$DB_PORT" "Database=$DB_NAME" "Username=$DB_USER" "Password=$DB_PASSWORD"
aws cloudformation describe-stack-resources --stack-name hosted \
  --query 'StackResources[].[LogicalResourceId,ResourceType,ResourceStatus]' --output text

step "2. Rotate once more"
tries=0
until VERSION=$(aws secretsmanager rotate-secret --secret-id HostedSecret --query VersionId --output text); do
  tries=$((tries + 1)) # the first rotation may still be running
  [ "$tries" -lt 60 ]
  sleep 1
done
current "$VERSION"

step "3. Verify: the password of the secret logs in"
PGPASSWORD=$(aws secretsmanager get-secret-value --secret-id HostedSecret --query SecretString --output text |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["password"])')
export PGPASSWORD
[ "$PGPASSWORD" != "$DB_PASSWORD" ]
psql -h "$DB_HOST" -p "$DB_PORT" -d "$DB_NAME" -U "$DB_USER" -Atc "SELECT 'logged in as ' || current_user"

step "4. Take it all away"
aws cloudformation delete-stack --stack-name hosted
aws cloudformation wait stack-delete-complete --stack-name hosted
