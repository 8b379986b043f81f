#!/usr/bin/env node
// Makes a video with Node's own fetch (18 or newer, no package).
//
//     EVOLINK_API_KEY=... node video_fetch.mjs "A cat playing piano" cat.mp4
//
// For the service and for a mock alike. Against a mock:
//
//     sora-mock run -- node video_fetch.mjs "A cat playing piano" cat.mp4
//
// EVOLINK_BASE_URL  address of the service (https://api.evolink.ai)
// IDEMPOTENCY_KEY   the key that an earlier run printed: fetches that run's video without paying again
// POLL_SECONDS      seconds between two polls (5)
// CALLBACK_URL      public https address that leads to CALLBACK_PORT of this machine (8000, 0 is a free one)
//
// Exit codes: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 rejected by moderation.

import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { rename, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

// A number from the environment. Ends the program if it is not a number from 0 to `most`.
function number(name, defaultValue, most) {
  const value = Number(process.env[name] || defaultValue);
  if (value >= 0 && value <= most) return value;
  console.error(`${name} must be a number from 0 to ${most}, got ${process.env[name]}`);
  process.exit(2);
}

const BASE_URL = (process.env.EVOLINK_BASE_URL ?? "https://api.evolink.ai").replace(/\/+$/, "");
const POLL_SECONDS = number("POLL_SECONDS", 5, 3600);
const CALLBACK_PORT = number("CALLBACK_PORT", 8000, 65535);
const CALLBACK_URL = process.env.CALLBACK_URL;
const LONGEST = 1800; // seconds that a task may take
const TRIES = 6;

class Problem extends Error {
  constructor(message, code = 1) {
    super(message);
    this.code = code;
  }
}

// What `take` reads from the body of a 200 response. Waits as a 429 says. Tries again after faults of the service and
// after lost responses; a response that `take` cannot read counts as lost.
async function ask(method, url, take, options, seconds = 60) {
  const end = Date.now() + LONGEST * 1000;
  let why, pause = 0;
  for (let faults = 0; faults < TRIES && Date.now() + pause * 1000 < end; ) {
    if (why) {
      console.error(`${why}; again in ${+pause.toPrecision(3)} s`);
      await sleep(pause * 1000);
    }
    pause = POLL_SECONDS * 2 ** faults;
    let response, body;
    try {
      response = await fetch(url, { method, signal: AbortSignal.timeout(seconds * 1000), ...options });
      body = Buffer.from(await response.arrayBuffer());
      if (response.status === 200) return take(body);
    } catch (problem) {
      why = `no response, or an unreadable one (${problem.cause?.code ?? problem.name})`;
      faults++;
      continue;
    }
    if (response.status === 429) {
      // not a fault: does not count as a try
      why = "too many requests";
      pause = wait(response.headers.get("Retry-After") ?? "", pause);
    } else if (response.status >= 500) {
      why = `the service responded with ${response.status}`;
      faults++;
    } else {
      throw rejection(method, response.status, body.toString());
    }
  }
  throw new Problem(`${why}; given up`);
}

// Seconds that Retry-After names, as a number or a date; `defaultSeconds` if it names no time in the future.
function wait(retryAfter, defaultSeconds) {
  if (/^\d+$/.test(retryAfter)) return Number(retryAfter);
  const left = (new Date(retryAfter) - Date.now()) / 1000;
  return left > 0 ? left : defaultSeconds; // also if it is not a date: NaN is not above 0
}

// What a 4xx response means for the user.
function rejection(method, status, text) {
  let error;
  try {
    error = JSON.parse(text).error;
  } catch {
    // a proxy may respond with an HTML page
  }
  const { code = status, message = text.slice(0, 200) } = error ?? {};
  // on a later request the video is paid already
  if (status === 402 && method === "POST") return new Problem(`not enough credits: ${message}`, 3);
  if (code === "content_policy_violation") return new Problem(`rejected by moderation: ${message}`, 4);
  return new Problem(`${code}: ${message}`);
}

const AUTHORIZED = { Authorization: `Bearer ${process.env.EVOLINK_API_KEY}` };

// A request to the API. A response without `name` counts as lost.
function api(method, path, name, { body, headers } = {}) {
  const options = {
    headers: { ...AUTHORIZED, "Content-Type": "application/json", ...headers },
    body: body && JSON.stringify(body),
  };
  const take = (text) => {
    const found = JSON.parse(text);
    if (found[name] === undefined) throw new SyntaxError(`expected ${name}`);
    return found;
  };
  return ask(method, BASE_URL + path, take, options);
}

// The remaining balance, as text; empty if one request cannot read it, because it is only extra information.
async function remain() {
  try {
    const signal = AbortSignal.timeout(60_000);
    const response = await fetch(`${BASE_URL}/v1/credits`, { headers: AUTHORIZED, signal });
    return `, ${Number((await response.json()).data.token.remaining_credits)} remain`;
  } catch {
    return "";
  }
}

// The video in a response.
function video(body) {
  if (!body.length) throw new SyntaxError("an empty video");
  return body;
}

// Polls until the task has ended. An unknown status counts as not ended.
async function finished(taskId, callbacks) {
  const end = Date.now() + LONGEST * 1000;
  while (Date.now() < end) {
    // a callback may come late, twice or never, so it only ends the pause; listen before the poll, or it may be missed
    const over = new AbortController();
    const called = once(callbacks, "call", { signal: over.signal }).catch(() => {});
    const task = await api("GET", `/v1/tasks/${taskId}`, "status");
    if (!["completed", "failed", "cancelled"].includes(task.status)) {
      console.error(`${task.status}, ${task.progress} %`);
      const pause = CALLBACK_URL ? 60 : POLL_SECONDS;
      await Promise.race([called, sleep(pause * 1000, null, { signal: over.signal }).catch(() => {})]);
    }
    over.abort();
    if (["completed", "failed", "cancelled"].includes(task.status)) return task;
  }
  throw new Problem(`task ${taskId} has not ended after ${LONGEST} s`);
}

// Receives callbacks. They are not signed, so the program ignores their content and reads the task instead.
async function listen(callbacks) {
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      response.writeHead(204).end();
      callbacks.emit("call");
    });
  }).listen(CALLBACK_PORT);
  await once(server, "listening");
  server.unref();
  console.error(`callbacks are received on port ${server.address().port}`);
}

async function main(prompt, file) {
  const part = `${file}.part`;
  if (await stat(file).then((found) => found.isDirectory(), () => false)) throw new Problem(`${file} is a folder`);
  await writeFile(part, ""); // create no task whose video cannot be saved
  await rm(part);
  const callbacks = new EventEmitter();
  if (CALLBACK_URL) await listen(callbacks);
  // every try sends the same key: if a response was lost, the next try gets the existing task and pays nothing
  const key = process.env.IDEMPOTENCY_KEY || randomUUID();
  console.error(`ordering under IDEMPOTENCY_KEY=${key}`);
  const created = await api("POST", "/v1/videos/generations", "id", {
    body: { model: "sora-2-beta-max", prompt, ...(CALLBACK_URL && { callback_url: CALLBACK_URL }) },
    headers: { "Idempotency-Key": key },
  });
  console.error(`ordered: ${created.id}`);
  const task = await finished(created.id, callbacks);
  if (task.status === "completed") {
    // a few MB; without our key, because the link is on another host
    await writeFile(part, await ask("GET", task.results[0], video, {}, 600));
    return rename(part, file);
  }
  const { code, message } = task.error ?? { code: task.status, message: "no reason given" };
  const reason = `${code}: ${message}; the credits came back${await remain()}`;
  if (code === "content_policy_violation") throw new Problem(`rejected by moderation: ${reason}`, 4);
  throw new Problem(reason);
}

const [prompt, file, ...more] = process.argv.slice(2);
if (!prompt || !file || more.length || !process.env.EVOLINK_API_KEY) {
  console.error("usage: EVOLINK_API_KEY=... node video_fetch.mjs PROMPT FILE");
  process.exit(2);
}
try {
  await main(prompt, file);
  console.log(file);
} catch (problem) {
  console.error(problem.message);
  process.exitCode = problem.code > 0 ? problem.code : 1;
}
