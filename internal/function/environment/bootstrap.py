"""Runs a Lambda function's Python handler over the Lambda Runtime API.

Needs the standard library alone, from Python 3.7 on.
"""

import decimal
import http.client
import importlib
import importlib.abc
import importlib.util
import json
import logging
import os
import sys
import time
import traceback

API = "/2018-06-01/runtime/"
NBSP = "\u00a0"
LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "FATAL": 50, "CRITICAL": 50}


class Fault(Exception):
    """A failure with the type and the text that Lambda gives it."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind, self.message, self.trace = kind, message, list(trace)


class Client:
    """Speaks to the Runtime API over one connection that stays open."""

    def __init__(self, address):
        self.address = address
        self.connection = None

    def call(self, method, path, body=None, headers=None):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address)
        self.connection.request(method, API + path, body, headers or {})
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()

    def next(self):
        status, headers, body = self.call("GET", "invocation/next")
        if status != 200:
            raise RuntimeError("Runtime API answered {} to next: {!r}".format(status, body))
        return headers, body

    def post(self, path, body, kind=None):
        headers = {"Content-Type": "application/json"}
        if kind is not None:
            headers["Lambda-Runtime-Function-Error-Type"] = kind
        self.call("POST", path, body, headers)


class Plain:
    """A bag of attributes that are None until they are set."""

    def __init__(self, values=None, **names):
        for name, key in names.items():
            setattr(self, name, (values or {}).get(key))

    def __repr__(self):
        pairs = ",".join("{}={!r}".format(k, v) for k, v in vars(self).items())
        return "{}([{}])".format(type(self).__name__, pairs)


class ClientContext(Plain):
    """What a mobile client says of itself."""

    def __init__(self, values):
        super().__init__(values, custom="custom", env="env")
        client = values.get("client")
        self.client = client and Plain(
            client, installation_id="installation_id", app_title="app_title",
            app_version_name="app_version_name", app_version_code="app_version_code",
            app_package_name="app_package_name")


class LambdaContext:
    """The handler's second argument."""

    def __init__(self, headers):
        env = os.environ
        self.aws_request_id = headers.get("Lambda-Runtime-Aws-Request-Id")
        self.invoked_function_arn = headers.get("Lambda-Runtime-Invoked-Function-Arn")
        self.log_group_name = env.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = env.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = env.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = env.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.tenant_id = headers.get("Lambda-Runtime-Aws-Tenant-Id")
        self._epoch_deadline_time_in_ms = int(headers.get("Lambda-Runtime-Deadline-Ms") or 0)
        client = headers.get("Lambda-Runtime-Client-Context")
        self.client_context = ClientContext(json.loads(client)) if client else None
        identity = json.loads(headers.get("Lambda-Runtime-Cognito-Identity") or "{}")
        self.identity = Plain(identity, cognito_identity_id="cognitoIdentityId",
                              cognito_identity_pool_id="cognitoIdentityPoolId")

    @property
    def epoch_deadline_time_in_ms(self):
        return self._epoch_deadline_time_in_ms

    def get_remaining_time_in_millis(self):
        return max(self._epoch_deadline_time_in_ms - int(time.time() * 1000), 0)

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        return "LambdaContext([{}])".format(",".join("{}={}".format(k, v) for k, v in vars(self).items()))


# ---- logging


class Log:
    """Writes log events to standard output, one line each.

    Newlines inside an event travel as carriage returns, which the reader of
    the output turns back.
    """

    def __init__(self):
        self.request_id = ""
        self.json = os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON"

    def event(self, text):
        sys.stdout.write(text.replace("\n", "\r") + "\n")
        sys.stdout.flush()

    def error(self, result):
        """Logs a result that is an error, the way Lambda does."""
        if self.json:
            record = {"timestamp": now(), "log_level": "ERROR"}
            record.update(result)
            self.event(json.dumps(record, ensure_ascii=False))
            return
        parts = ["[ERROR]"]
        if result.get("errorType"):
            parts.append(result["errorType"] + (":" if result.get("errorMessage") else ""))
        if result.get("errorMessage"):
            parts.append(result["errorMessage"])
        lines = [" ".join(parts), "Traceback (most recent call last):"]
        for piece in result.get("stackTrace") or []:
            for line in piece.splitlines():
                text = line.lstrip(" ")
                lines.append(NBSP * (len(line) - len(text)) + text)
        self.event("\n".join(lines))


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class TextFormatter(logging.Formatter):
    """[LEVEL], time, request ID and message, with tabs between."""

    converter = time.gmtime

    def __init__(self, log):
        super().__init__()
        self.log = log

    def format(self, record):
        message = super().format(record)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", self.converter(record.created))
        return "[{}]\t{}.{:03d}Z\t{}\t{}".format(
            record.levelname, stamp, int(record.msecs), self.log.request_id, message)


class JSONFormatter(logging.Formatter):
    """One JSON object per record."""

    known = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def __init__(self, log):
        super().__init__()
        self.log = log

    def format(self, record):
        out = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname, "message": record.getMessage(), "logger": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, value, tb = record.exc_info
            out.update(stackTrace=frames(tb), errorType=kind.__name__, errorMessage=str(value),
                       location="{}:{}:{}".format(record.pathname, record.funcName, record.lineno))
        for name, value in vars(record).items():
            if name not in self.known:
                out.setdefault(name, value)
        out["requestId"] = self.log.request_id
        return json.dumps(out, default=str, ensure_ascii=False)


class Handler(logging.Handler):
    """Sends records to the log."""

    def __init__(self, log):
        super().__init__()
        self.log = log

    def emit(self, record):
        try:
            self.log.event(self.format(record))
        except Exception:
            self.handleError(record)


def set_up_logging(log):
    handler = Handler(log)
    handler.setFormatter(JSONFormatter(log) if log.json else TextFormatter(log))
    logging.root.addHandler(handler)
    if log.json:
        logging.root.setLevel(LEVELS.get(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper(), logging.INFO))


# ---- errors


def frames(tb):
    """The frames of a traceback as Lambda prints them, without position marks."""
    found = []
    for frame in traceback.extract_tb(tb):
        text = '  File "{}", line {}, in {}\n'.format(frame.filename, frame.lineno, frame.name)
        if frame.line:
            text += "    {}\n".format(frame.line.strip())
        found.append(text)
    return found


def failure(kind, message, trace, request_id=""):
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": trace}


def failure_of(error, skip, request_id=""):
    """The result for an exception; skip is how many frames are ours."""
    if isinstance(error, Fault):
        return failure(error.kind, error.message, error.trace, request_id)
    tb = error.__traceback__
    while skip and tb is not None:
        tb, skip = tb.tb_next, skip - 1
    return failure(type(error).__name__, str(error), frames(tb), request_id)


# ---- the handler


def load(name):
    """Finds the handler that the function's configuration names."""
    parts = name.rsplit(".", 1)
    if len(parts) != 2:
        raise Fault("Runtime.MalformedHandlerName",
                    "Bad handler '{}': not enough values to unpack (expected 2, got 1)".format(name))
    path, attribute = parts
    module_name = path.replace("/", ".")
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.BuiltInModuleConflict",
                    "Cannot use built-in module {} as a handler module".format(path))
    try:
        module = importlib.import_module(module_name)
    except ImportError as e:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '{}': {}".format(path, e))
    except SyntaxError as e:
        trace = ['  File "{}" Line {}\n    {}'.format(e.filename, e.lineno, e.text or "")]
        raise Fault("Runtime.UserCodeSyntaxError", "Syntax error in module '{}': {}".format(path, e), trace)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", "Handler '{}' missing on module '{}'".format(attribute, path))


def encode_number(value):
    if isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError("Object of type {} is not JSON serializable".format(type(value).__name__))


def run(handler, body, context):
    """Calls the handler and returns its result as JSON."""
    try:
        event = json.loads(body.decode("utf-8"))
    except ValueError as e:
        raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: {}".format(e))
    result = handler(event, context)
    try:
        return json.dumps(result, default=encode_number).encode("utf-8")
    except Exception as e:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: {}".format(e))


def serve(client, log, handler):
    """Takes one event after another, for ever."""
    while True:
        headers, body = client.next()
        request_id = log.request_id = headers.get("Lambda-Runtime-Aws-Request-Id")
        trace = headers.get("Lambda-Runtime-Trace-Id")
        if trace:
            os.environ["_X_AMZN_TRACE_ID"] = trace
        else:
            os.environ.pop("_X_AMZN_TRACE_ID", None)
        try:
            answer = run(handler, body, LambdaContext(headers))
        except Exception as e:
            result = failure_of(e, 2, request_id)
            log.error(result)
            flush()
            client.post("invocation/{}/error".format(request_id), json.dumps(result), result["errorType"])
        else:
            flush()
            client.post("invocation/{}/response".format(request_id), answer)
        log.request_id = ""


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


# ---- boto3 before AWS_ENDPOINT_URL


class EndpointHook(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives botocore versions that do not know AWS_ENDPOINT_URL the endpoint.

    It wraps the loading of botocore.session and then stays out of the way.
    """

    name = "botocore.session"

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            self.inner, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.inner.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self.inner
        self.inner.exec_module(module)
        try:
            provider = importlib.import_module("botocore.configprovider")
        except ImportError:
            return
        if not hasattr(provider, "ConfiguredEndpointProvider"):
            patch(module.Session)


def patch(session):
    """Makes a session's clients take their endpoint from the environment."""
    original = session.create_client
    position = 5  # of endpoint_url after service_name

    def create_client(self, service_name, *args, **kwargs):
        given = args[position - 1] if len(args) >= position else kwargs.get("endpoint_url")
        if given is None:
            url = endpoint(self, service_name)
            if url and len(args) >= position:
                args = args[:position - 1] + (url,) + args[position:]
            elif url:
                kwargs["endpoint_url"] = url
        return original(self, service_name, *args, **kwargs)

    session.create_client = create_client


def endpoint(session, service_name):
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    try:
        service = session.get_service_model(service_name).service_id
    except Exception:
        service = service_name
    own = "AWS_ENDPOINT_URL_" + service.upper().replace(" ", "_").replace("-", "_")
    return os.environ.get(own) or os.environ.get("AWS_ENDPOINT_URL")


# ---- start


def search_path(root, opt):
    """The function's folders first, then those of layers, then Python's own."""
    version = "python{}.{}".format(*sys.version_info[:2])
    named = os.environ.get("AWS_EXECUTION_ENV", "").replace("AWS_Lambda_", "", 1)
    wanted = [root]
    for name in dict.fromkeys([named, version]):
        if name:
            wanted.append("{}/python/lib/{}/site-packages".format(opt, name))
    wanted.append(opt + "/python")
    return list(dict.fromkeys(wanted + sys.path))


def main():
    root = os.environ["LAMBDA_TASK_ROOT"]
    opt = os.environ.pop("KEYTURN_OPT", "/opt")
    sys.path[:] = search_path(root, opt)
    sys.meta_path.insert(0, EndpointHook())
    # The function must find this module under no name of its own.
    client = Client(os.environ["AWS_LAMBDA_RUNTIME_API"])
    log = Log()
    set_up_logging(log)
    try:
        handler = load(os.environ.get("_HANDLER", ""))
    except Exception as e:
        result = failure_of(e, 2)
        log.error(result)
        flush()
        client.post("init/error", json.dumps(result), result["errorType"])
        sys.exit(1)
    serve(client, log, handler)


if __name__ == "__main__":
    main()
