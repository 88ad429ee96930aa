// Runs a Lambda function's JavaScript handler over the Lambda Runtime API.
// Needs Node.js 18 or newer and nothing else.

import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import util from "node:util";

const env = process.env;
const require = createRequire(import.meta.url);

// ---- the Runtime API

const [host, port] = env.AWS_LAMBDA_RUNTIME_API.split(":");
const kept = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, name, body, headers, agent = kept) {
  return new Promise((resolve, reject) => {
    const options = { agent, host, port, method, path: "/2018-06-01/runtime/" + name, headers: { ...headers } };
    if (body !== undefined) {
      options.headers["Content-Type"] = "application/json";
      options.headers["Content-Length"] = Buffer.byteLength(body);
    }
    const request = http.request(options, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => resolve({
        status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString("utf8"),
      }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

function postError(name, error, agent) {
  const result = describe(error);
  const type = result.errorType.replace(/[^\x20-\x7e]/g, "?");
  return call("POST", name, JSON.stringify(result), { "Lambda-Runtime-Function-Error-Type": type }, agent);
}

// ---- errors

class RuntimeError extends Error {
  constructor(name, message, stack) {
    super(message);
    this.name = name;
    this.stack = stack ?? name + ": " + message;
  }
}

// describe is the object that an invocation answers for an error.
function describe(error) {
  if (!util.types.isNativeError(error) && !(error instanceof Error)) {
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  }
  return { errorType: error.name, errorMessage: error.message, trace: (error.stack || "").split("\n") };
}

// detail is what the log says of an error.
function detail(error) {
  const { errorType, errorMessage, trace } = describe(error);
  const own = error instanceof Error ? { ...error } : {};
  delete own.name;
  delete own.stack;
  return { errorType, errorMessage, ...own, stack: trace };
}

// ---- logging

let requestId;
const json = env.AWS_LAMBDA_LOG_FORMAT === "JSON";
const ranks = { TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6 };
const least = json ? ranks[(env.AWS_LAMBDA_LOG_LEVEL || "INFO").toUpperCase()] ?? 3 : 0;

// emit writes one event on one line; the reader of the output turns the
// carriage returns back into newlines.
function emit(text) {
  process.stdout.write(text.replace(/\n/g, "\r") + "\n");
}

function log(level, args) {
  if (ranks[level] < least) return;
  const timestamp = new Date().toISOString();
  if (!json) {
    emit([timestamp, requestId, level, util.format(...args)].map(String).join("\t"));
    return;
  }
  const record = { timestamp, level, requestId };
  const error = args.find((arg) => arg instanceof Error);
  record.message = args.length === 1 && !error ? args[0] : util.format(...args);
  if (error) Object.assign(record, { errorType: error.name, errorMessage: error.message, stackTrace: (error.stack || "").split("\n") });
  let text;
  try {
    text = JSON.stringify(record);
  } catch {
    text = JSON.stringify({ ...record, message: util.format(...args) });
  }
  emit(text);
}

for (const [name, level] of Object.entries({
  log: "INFO", info: "INFO", debug: "DEBUG", warn: "WARN", error: "ERROR", trace: "TRACE", fatal: "FATAL",
})) {
  console[name] = (...args) => log(level, args);
}

function logError(what, error) {
  if (json) log("ERROR", [what, error]);
  else emit([new Date().toISOString(), requestId, "ERROR", what + " ", JSON.stringify(detail(error))].map(String).join("\t"));
}

// ---- the handler

// load finds the function that the configuration's handler names.
async function load(root, name) {
  const base = path.basename(name);
  const dot = base.indexOf(".");
  if (dot < 1 || dot === base.length - 1 || name.includes("..")) {
    throw new RuntimeError("Runtime.MalformedHandlerName", "Bad handler");
  }
  const module = path.join(path.dirname(name), base.slice(0, dot));
  let found;
  try {
    found = await loadModule(root, module);
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new RuntimeError("Runtime.UserCodeSyntaxError", String(error), error.stack);
    }
    if (error && (error.code === "MODULE_NOT_FOUND" || error.code === "ERR_MODULE_NOT_FOUND")) {
      throw new RuntimeError("Runtime.ImportModuleError", String(error), error.stack);
    }
    throw error;
  }
  const names = base.slice(dot + 1).split(".");
  const walk = (from) => names.reduce((value, key) => value?.[key], from);
  const handler = walk(found) ?? walk(found?.default);
  if (handler === undefined || handler === null) {
    throw new RuntimeError("Runtime.HandlerNotFound", name + " is undefined or not exported");
  }
  if (typeof handler !== "function") {
    throw new RuntimeError("Runtime.HandlerNotFound", name + " is not a function");
  }
  return handler;
}

async function loadModule(root, module) {
  const file = path.resolve(root, module);
  for (const extension of [".js", ".mjs", ".cjs"]) {
    if (!fs.existsSync(file + extension)) continue;
    if (extension === ".mjs" || (extension === ".js" && isModule(file))) {
      return import(pathToFileURL(file + extension).href);
    }
    return require(file + extension);
  }
  // A folder, or a package of a layer; otherwise Node's own error.
  return require(require.resolve(module, { paths: [root, path.dirname(file)] }));
}

// isModule asks the nearest package.json what .js files are.
function isModule(file) {
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const name = path.join(folder, "package.json");
    if (fs.existsSync(name)) {
      return JSON.parse(fs.readFileSync(name, "utf8")).type === "module";
    }
    if (folder === path.dirname(folder)) return false;
  }
}

function contextOf(headers, finish) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const parse = (name) => (headers[name] ? JSON.parse(headers[name]) : undefined);
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parse("lambda-runtime-client-context"),
    identity: parse("lambda-runtime-cognito-identity"),
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    getRemainingTimeInMillis: () => Math.max(deadline - Date.now(), 0),
    done: (error, result) => finish(error, result),
    fail: (error) => finish(error ?? "handled", undefined),
    succeed: (result) => finish(null, result),
  };
}

// whenIdle is called when nothing is left to run; Node would exit.
let whenIdle = () => {};
process.on("beforeExit", () => whenIdle());

// run calls the handler and settles with its result: from its promise, or
// from the callback once the event loop is empty, unless the handler does not
// want to wait for that.
function run(handler, headers, event) {
  return new Promise((resolve, reject) => {
    let settle = () => resolve(null);
    whenIdle = () => settle();
    const finish = (error, result) => {
      settle = () => (error === null || error === undefined ? resolve(result) : reject(error));
      if (!context.callbackWaitsForEmptyEventLoop) settle();
    };
    const context = contextOf(headers, finish);
    const returned = handler(event, context, finish);
    if (returned && typeof returned.then === "function") returned.then(resolve, reject);
  });
}

function encode(result) {
  try {
    return JSON.stringify(result === undefined ? null : result) ?? "null";
  } catch (error) {
    throw new RuntimeError("Runtime.MarshalError", "Unable to stringify response body: " + error.message, error.stack);
  }
}

async function answer(handler, headers, body) {
  let event;
  try {
    event = JSON.parse(body);
  } catch (error) {
    throw new RuntimeError("Runtime.UnmarshalError", "Unable to parse event: " + error.message, error.stack);
  }
  return encode(await run(handler, headers, event));
}

async function serve(handler) {
  for (;;) {
    const { status, headers, body } = await call("GET", "invocation/next");
    if (status !== 200) throw new Error("Runtime API answered " + status + " to next: " + body);
    requestId = headers["lambda-runtime-aws-request-id"];
    env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"] ?? "";
    const name = "invocation/" + requestId;
    try {
      const text = await answer(handler, headers, body);
      whenIdle = () => {};
      await call("POST", name + "/response", text);
    } catch (error) {
      whenIdle = () => {};
      logError("Invoke Error", error);
      await postError(name + "/error", error);
    }
  }
}

// ---- start

// last reports an error that nothing caught, to whom it concerns, and exits.
async function last(what, error, code) {
  logError(what, error);
  try {
    // Not over the kept connection, which may be waiting for the next event.
    await postError(requestId ? "invocation/" + requestId + "/error" : "init/error", error, false);
  } finally {
    process.exit(code);
  }
}

process.on("uncaughtException", (error) => last("Uncaught Exception", error, 129));
process.on("unhandledRejection", (reason, promise) => {
  const error = new RuntimeError("Runtime.UnhandledPromiseRejection", String(reason), reason?.stack);
  Object.assign(error, { reason: String(reason) });
  last("Unhandled Promise Rejection", error, 128);
});

try {
  await serve(await load(env.LAMBDA_TASK_ROOT, env._HANDLER || ""));
} catch (error) {
  await last("Uncaught Exception", error, 129);
}
