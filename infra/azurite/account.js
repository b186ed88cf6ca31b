"use strict";
/**
 * The storage account of one Azurite data folder, with its own name and key instead of the
 * published ones.
 *
 * `prepare` creates the account once and moves data of the published account to it. It runs before
 * Azurite opens the folder. If a start is killed at any moment, the next start completes it: each
 * file is written under another name and then renamed, and completed work is not repeated. Only
 * Azurite's records change. The bytes of blobs and messages are not moved.
 */
const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

const PUBLISHED = "devstoreaccount1";
const ACCOUNT_FILE = "muster-account";
// The format of AZURITE_ACCOUNTS. Azurite falls back to the published account if it cannot parse the
// value, so nothing else may be passed on.
const LINE = /^([a-z0-9]{3,24}):([A-Za-z0-9+/]{86}==)\n?$/;
const OWN_NAME = /^muster[0-9a-f]{18}$/;
// The collections of each database that belong to an account, each with the fields that identify a
// record.
const DATABASES = {
  "__azurite_db_blob__.json": {
    $SERVICES_COLLECTION$: [],
    $CONTAINERS_COLLECTION$: ["name"],
    $BLOBS_COLLECTION$: ["containerName", "name", "snapshot"],
    $BLOCKS_COLLECTION$: ["containerName", "blobName", "name", "isCommitted"],
  },
  "__azurite_db_queue__.json": {
    $SERVICES_COLLECTION$: [],
    $QUEUES_COLLECTION$: ["name"],
    $MESSAGES_COLLECTION$: ["queueName", "messageId"],
  },
};

/** A fault that a person has to correct. The message says how. */
class AccountError extends Error {}

/**
 * Return the account of a data folder, {name, key}.
 *
 * If the account does not exist, create it and move the published account's data to it.
 *
 * @param {string} location Azurite's data folder. No Azurite may run on it.
 * @param {(line: string) => void} say Takes a line for the log. No line contains the key.
 */
function prepare(location, say) {
  fs.mkdirSync(location, { recursive: true, mode: 0o700 });
  const account = read(location) ?? make(location);
  for (const [name, collections] of Object.entries(DATABASES)) {
    move(path.join(location, name), collections, account.name, say);
  }
  return account;
}

function read(location) {
  const file = path.join(location, ACCOUNT_FILE);
  let line;
  try {
    line = fs.readFileSync(file, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
  const match = LINE.exec(line);
  if (match === null || match[1] === PUBLISHED) {
    throw new AccountError(
      `${file} holds no account of this data folder. Put a copy of it back. If there is none, delete it: ` +
        "the next start gives the data a new key."
    );
  }
  fs.chmodSync(file, 0o600);
  return { name: match[1], key: match[2] };
}

function make(location) {
  const name = nameOfData(location) ?? `muster${crypto.randomBytes(9).toString("hex")}`;
  const key = crypto.randomBytes(64).toString("base64");
  replace(path.join(location, ACCOUNT_FILE), `${name}:${key}\n`);
  return read(location);
}

/** Return the account of existing data whose file was lost. It keeps its data and gets a new key. */
function nameOfData(location) {
  const names = new Set();
  for (const [database, collections] of Object.entries(DATABASES)) {
    for (const collection of parse(path.join(location, database))?.collections ?? []) {
      if (collection.name in collections) collection.data.forEach((record) => names.add(record.accountName));
    }
  }
  const own = [...names].filter((name) => OWN_NAME.test(name));
  if (own.length > 1) {
    throw new AccountError(`The data in ${location} belong to the accounts ${own.join(", ")}. Put the file ${ACCOUNT_FILE} back.`);
  }
  return own[0];
}

function parse(file) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    if (error instanceof SyntaxError) throw new AccountError(`${file} is damaged: ${error.message}. Put a copy of it back.`);
    throw error;
  }
}

/**
 * Move the published account's records of one database to the account.
 *
 * Idempotent. A record that the account already has is not changed.
 */
function move(file, collections, account, say) {
  if (!mentions(file, PUBLISHED)) return;
  const database = parse(file);
  let moved = 0;
  let left = 0;
  for (const collection of database.collections) {
    if (!(collection.name in collections)) continue;
    const identity = (record) => JSON.stringify(collections[collection.name].map((field) => record[field]));
    const taken = new Set(collection.data.filter((record) => record.accountName === account).map(identity));
    for (const record of collection.data) {
      if (record.accountName !== PUBLISHED) continue;
      if (taken.size > 0 && taken.has(identity(record))) {
        left += 1;
        continue;
      }
      record.accountName = account;
      moved += 1;
    }
    sortIndex(collection);
  }
  if (left > 0) say(`${path.basename(file)}: ${left} records stay with ${PUBLISHED}, because ${account} has others of their names.`);
  if (moved === 0) return;
  replace(file, JSON.stringify(database));
  say(`${path.basename(file)}: ${moved} records moved from ${PUBLISHED} to ${account}.`);
}

/** Sort the index of account names. Azurite loads the index without sorting, and bisects it. */
function sortIndex(collection) {
  const index = collection.binaryIndices?.accountName;
  if (index === undefined) return;
  const names = collection.data.map((record) => record.accountName);
  index.values.sort((a, b) => (names[a] < names[b] ? -1 : names[a] > names[b] ? 1 : 0));
}

function mentions(file, text) {
  try {
    return fs.readFileSync(file).includes(text);
  } catch (error) {
    if (error.code === "ENOENT") return false;
    throw error;
  }
}

/**
 * Replace a file atomically and durably. Only the owner can read the new file.
 *
 * After a crash, either the old file or the new file exists.
 */
function replace(file, text) {
  const beside = `${file}.new`;
  const descriptor = fs.openSync(beside, "w", 0o600);
  try {
    fs.writeFileSync(descriptor, text);
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
  fs.renameSync(beside, file);
  const folder = fs.openSync(path.dirname(file), "r");
  try {
    fs.fsyncSync(folder);
  } finally {
    fs.closeSync(folder);
  }
}

module.exports = { AccountError, prepare, replace };
