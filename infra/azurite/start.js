"use strict";
/**
 * Azurite with the data folder's own account.
 *
 * Azurite runs in this process, so the key is neither in an argument nor in an environment that
 * other users can read.
 *
 *   node start.js --azurite=FILE --location=FOLDER --listen=ADDRESS --ports=BLOB,QUEUE,TABLE --host=NAME --connection-file=FILE
 *
 * `--azurite` is Azurite's own start script. `--host` is the name under which other processes reach
 * Azurite. They read the connection string from `--connection-file`, which is written with mode 0600
 * before Azurite listens.
 */
const http = require("node:http");
const path = require("node:path");
const { parseArgs } = require("node:util");
const { AccountError, prepare, replace } = require("./account.js");

const NAMES = ["azurite", "location", "listen", "ports", "host", "connection-file"];

/**
 * Refuse copies that are requested with a link (SAS URL).
 *
 * With a link for one blob, Azurite lets the client copy any other blob of the account to that blob.
 * Azure requires the right to read the source. The API's own copies are signed with the key.
 */
function refuseCopiesByLink() {
  const emit = http.Server.prototype.emit;
  http.Server.prototype.emit = function (event, request, response) {
    const copies = request?.headers?.["x-ms-copy-source"] !== undefined && typeof response?.writeHead === "function";
    if (!copies || (isSigned(request) && !/[?&]sig=/i.test(decoded(request.url)))) return emit.apply(this, arguments);
    response.writeHead(403, { "x-ms-error-code": "CannotVerifyCopySource", "Content-Length": 0, Connection: "close" });
    response.end();
    return true;
  };
}

function isSigned(request) {
  return (request.headers.authorization ?? "").startsWith("SharedKey");
}

function decoded(url) {
  try {
    return decodeURIComponent(url);
  } catch {
    return "?sig=";
  }
}

function main() {
  process.umask(0o077);
  const options = Object.fromEntries(NAMES.map((name) => [name, { type: "string" }]));
  const asked = parseArgs({ options }).values;
  const [blob, queue, table] = asked.ports.split(",");
  const { name, key } = prepare(asked.location, console.log);
  replace(
    asked["connection-file"],
    `DefaultEndpointsProtocol=http;AccountName=${name};AccountKey=${key};` +
      `BlobEndpoint=http://${asked.host}:${blob}/${name};QueueEndpoint=http://${asked.host}:${queue}/${name};\n`
  );
  process.env.AZURITE_ACCOUNTS = `${name}:${key}`;
  const listen = Object.entries({ blob, queue, table }).flatMap(([service, port]) => [
    `--${service}Host`,
    asked.listen,
    `--${service}Port`,
    port,
  ]);
  const script = path.resolve(asked.azurite);
  process.argv = [process.argv[0], script, ...listen, "--location", asked.location, "--silent", "--disableTelemetry"];
  // The account comes only from the path, so a page whose host name was rebound to this machine
  // cannot choose it.
  process.argv.push("--skipApiVersionCheck", "--disableProductStyleUrl");
  refuseCopiesByLink();
  require(script);
}

try {
  main();
} catch (error) {
  if (!(error instanceof AccountError) && error.code === undefined) throw error;
  console.error(error.message);
  process.exit(1);
}
