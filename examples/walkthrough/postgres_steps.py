

import psycopg2  # what set_secret and test_secret need
from psycopg2 import sql

DATABASE = {"host": "@HOST@", "port": "@PORT@", "dbname": "@NAME@", "user": "@USER@"}


def set_secret(client, arn, token):
    """Makes PostgreSQL accept the pending password."""
    pending = read(client, arn, "AWSPENDING", token)
    connection = log_in(pending)
    if connection:
        connection.close()
        logger.info("setSecret: the pending password is set already for secret %s.", arn)
        return
    connection = log_in(read(client, arn, "AWSCURRENT")) or log_in(read_previous(client, arn))
    if not connection:
        raise ValueError(f"Unable to log into database with previous or current secret of {arn}")
    try:
        with connection, connection.cursor() as cursor:
            statement = sql.SQL("ALTER USER {} WITH PASSWORD {}")
            cursor.execute(statement.format(sql.Identifier(DATABASE["user"]), sql.Literal(pending)))
    finally:
        connection.close()
    logger.info("setSecret: Successfully set the password for secret %s.", arn)


def test_secret(client, arn, token):
    """Logs in with the pending password, as the application will."""
    connection = log_in(read(client, arn, "AWSPENDING", token))
    if not connection:
        raise ValueError(f"Unable to log into database with pending secret of {arn}")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT now()")
    finally:
        connection.close()
    logger.info("testSecret: Successfully signed in with the pending secret of %s.", arn)


def read_previous(client, arn):
    try:
        return read(client, arn, "AWSPREVIOUS")
    except client.exceptions.ResourceNotFoundException:
        return None


def log_in(password):
    """Returns a connection, or None if the database refuses the password."""
    if password is None:
        return None
    try:
        return psycopg2.connect(password=password, connect_timeout=5, **DATABASE)
    except psycopg2.OperationalError as refusal:
        logger.warning("Login as %s refused: %s", DATABASE["user"], refusal)
        return None
