"""Tests of the function without Db2, Secrets Manager or IBM's driver.

Db2Double stands in for the driver and the server, and SecretsDouble for
Secrets Manager: nothing here has met the real ones. Run it by
python3 -m unittest in this folder.
"""

import json
import os
import sys
import types
import unittest


class Db2Double(types.ModuleType):
    """ibm_db, as far as the function uses it, over users in memory."""

    def __init__(self):
        super().__init__("ibm_db")
        self.users = {"admin": "first-admin", "app": "first-app"}
        self.auth = {"APP": {"CONNECTAUTH": "Y", "IMPLSCHEMAAUTH": "Y", "DBADMAUTH": "N"}}
        self.log, self.late = [], 0

    def connect(self, text, _user, _password):
        parts = dict(p.split("=", 1) for p in text.strip(";").split(";"))
        if self.users.get(parts["UID"]) != parts["PWD"]:
            raise Exception("SQL30082N  " + text)  # as bad as a driver can be
        if parts["UID"] != "admin" and "CONNECTAUTH" not in self.auth.get(parts["UID"].upper(), {}):
            raise Exception("SQL1060N")
        return (parts["UID"], parts["DATABASE"])

    def conn_error(self):
        return "08001"

    def close(self, _handle):
        pass

    def prepare(self, handle, statement):
        return {"by": handle, "statement": statement, "rows": []}

    def execute(self, prepared, values):
        (who, database), statement = prepared["by"], prepared["statement"]
        self.log.append(statement)
        if who != "admin":
            raise Exception("SQL0551N")
        if statement.startswith("call rdsadmin.") and database != "rdsadmin":
            raise Exception("SQL0440N")
        if statement == "call rdsadmin.change_password(?, ?)":
            if values[0] not in self.users:
                raise Exception("no such user")
            self.users[values[0]] = values[1]
        elif statement == "call rdsadmin.add_user(?, ?, ?)":
            if values[0] in self.users:
                raise Exception(f"Username {values[0]} already exists")
            self.users[values[0]] = values[1]
        elif statement == "call rdsadmin.list_users()":
            prepared["rows"] = [{"AUTHID": u.upper()} for u in self.users]
        elif statement.startswith("SELECT * FROM SYSCAT.DBAUTH"):
            prepared["rows"] = [self.auth[values[0]]] if values[0] in self.auth else []
        elif statement.startswith("GRANT "):
            what, whom = statement[len("GRANT ") :].split(" ON DATABASE TO USER ")
            names = {v: k for k, v in function.AUTHORITIES.items()}
            self.auth.setdefault(whom.strip('"'), {})[names.get(what, what) + "AUTH"] = "Y"
        else:
            raise Exception("SQL0104N " + statement)

    def num_fields(self, prepared):
        return 1 if prepared["rows"] else 0

    def fetch_assoc(self, prepared):
        return prepared["rows"].pop(0) if prepared["rows"] else False


class SecretsDouble:
    """A Secrets Manager client of the user's and the superuser's secret."""

    class exceptions:
        class ResourceNotFoundException(Exception):
            pass

    def __init__(self):
        self.versions = {"first": (secret("app", "first-app"), ["AWSCURRENT"])}
        self.made = 0
        shape = types.SimpleNamespace(members={"RotationToken": None})
        operation = types.SimpleNamespace(input_shape=shape)
        model = types.SimpleNamespace(operation_model=lambda _name: operation)
        self.meta = types.SimpleNamespace(service_model=model)

    def describe_secret(self, SecretId):
        stages = {v: labels for v, (_, labels) in self.versions.items() if labels}
        return {"RotationEnabled": True, "VersionIdsToStages": stages}

    def get_secret_value(self, SecretId, VersionStage, VersionId=None):
        if SecretId == "master":
            return {"SecretString": json.dumps(master)}
        for version, (value, labels) in self.versions.items():
            if VersionStage in labels and VersionId in (None, version) and value:
                return {"SecretString": json.dumps(value)}
        raise self.exceptions.ResourceNotFoundException()

    def get_random_password(self, **asked):
        self.made, self.asked = self.made + 1, asked
        return {"RandomPassword": f"made-{self.made}"}

    def put_secret_value(self, SecretId, ClientRequestToken, SecretString, VersionStages, RotationToken):
        self.versions[ClientRequestToken] = (json.loads(SecretString), VersionStages)

    def update_secret_version_stage(self, SecretId, VersionStage, MoveToVersionId, RemoveFromVersionId):
        for version, (value, _) in self.versions.items():
            self.versions[version] = (value, [VersionStage] if version == MoveToVersionId else [])


def secret(user, password):
    return {
        "engine": "db2-ae", "host": "db", "dbname": "SALES", "username": user, "password": password,
        "masterarn": "master",
    }


master = {"engine": "db2-ae", "host": "db", "username": "admin", "password": "first-admin"}
secrets = SecretsDouble()
sys.modules["ibm_db"] = Db2Double()
boto3 = types.ModuleType("boto3")
boto3.client = lambda *_, **__: secrets
sys.modules["boto3"] = boto3

import lambda_function as function  # noqa: E402: after its modules


class RotationTest(unittest.TestCase):
    def setUp(self):
        global secrets
        secrets = SecretsDouble()
        function.ibm_db = self.db2 = Db2Double()
        os.environ["SETTLE_SECONDS"] = "0"
        os.environ.pop("STRATEGY", None)
        master["host"] = "db"

    def rotate(self, token):
        secrets.versions[token] = (None, ["AWSPENDING"])
        for step in ("createSecret", "setSecret", "testSecret", "finishSecret"):
            for _ in range(2):  # as after a crash
                function.lambda_handler(
                    {"Step": step, "SecretId": "arn", "ClientRequestToken": token, "RotationToken": "r"}, None
                )
        return secrets.versions[token][0]

    def test_single(self):
        for n in range(3):
            value = self.rotate(f"t{n}")
            self.assertEqual(self.db2.users["app"], value["password"])
        self.assertEqual(sum("change_password" in s for s in self.db2.log), 3)

    def test_alternating(self):
        os.environ["STRATEGY"] = "alternating"
        for n, name in enumerate(("app_clone", "app", "app_clone")):
            before = dict(self.db2.users)
            value = self.rotate(f"t{n}")
            self.assertEqual(value["username"], name)
            self.assertEqual(self.db2.users[name], value["password"])
            other = function.other_user(name)
            self.assertEqual(self.db2.users[other], before[other])
        self.assertLess(
            max(n for n, s in enumerate(self.db2.log) if s.startswith("GRANT")),
            max(n for n, s in enumerate(self.db2.log) if "change_password" in s),
        )
        self.assertEqual(
            function.authorities([self.db2.auth["APP_CLONE"]]), function.authorities([self.db2.auth["APP"]])
        )

    def test_wrong_password(self):
        self.db2.users["app"] = "another"
        with self.assertRaisesRegex(ValueError, "using current credentials") as raised, self.assertLogs() as logged:
            self.rotate("t")
        self.assertNotIn("first-app", str(raised.exception) + "".join(logged.output))
        self.assertFalse(any("rdsadmin" in s for s in self.db2.log))

    def test_other_host(self):
        master["host"] = "elsewhere"
        with self.assertRaisesRegex(ValueError, "is not the same host"):
            self.rotate("t")

    def test_password_fits_connection_string(self):
        self.rotate("t")
        for character in ";{}":
            self.assertIn(character, secrets.asked["ExcludeCharacters"])

    def test_connection_string(self):
        with self.assertRaisesRegex(ValueError, "PWD holds") as raised:
            function.connection_string(secret("app", "a;UID=admin"), "SALES")
        self.assertNotIn("admin", str(raised.exception))

    def test_names(self):
        self.assertEqual(function.other_user("a_clone"), "a")
        with self.assertRaisesRegex(ValueError, "exceed 16"):
            function.other_user("elevenchars")
        self.assertEqual(
            function.authorities([{"CONNECTAUTH": "Y", "SECURITYADMAUTH": "Y", "LOADAUTH": "N", "GRANTEE": "Y"}]),
            ["CONNECT", "SECADM"],
        )


if __name__ == "__main__":
    unittest.main()
