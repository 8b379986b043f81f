#!/usr/bin/env node
// Makes a video with Node's own fetch (18 or newer, no package).
//
//     EVOLINK_API_KEY=... node video_fetch.mjs "A cat playing piano" cat.mp4
//
// Nothing in this file is for a mock; against one: sora-mock run -- node video_fetch.mjs "A cat playing piano" cat.mp4
//
// EVOLINK_BASE_URL  another service (https://api.evolink.ai)
// IDEMPOTENCY_KEY   of an earlier run, which told it: what that run has ordered is fetched, and not paid again
// POLL_SECONDS      pause between two looks at the task (5)
// CALLBACK_URL      public https address that leads to CALLBACK_PORT of this machine (8000, 0 is a free one)
//
// Exit codes: 0 saved, 1 failed, 2 wrong usage, 3 not enough credits, 4 refused by moderation.

import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { rename, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

// A number that the environment sets.
function number(name, otherwise, most) {
  const value = Number(process.env[name] || otherwise);
  if (value >= 0 && value <= most) return value;
  console.error(`${name} is a number from 0 to ${most}, not ${process.env[name]}`);
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

// What `take` finds in the body of a good answer. Waits as a 429 says, and tries again after faults of the service and
// lost answers, which those that `take` cannot read are too.
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
      why = `no answer, or none that can be read (${problem.cause?.code ?? problem.name})`;
      faults++;
      continue;
    }
    if (response.status === 429) {
      // no fault: it does not use up a try
      why = "too many requests";
      pause = wait(response.headers.get("Retry-After") ?? "", pause);
    } else if (response.status >= 500) {
      why = `the service answers ${response.status}`;
      faults++;
    } else {
      throw refusal(method, response.status, body.toString());
    }
  }
  throw new Problem(`${why}; given up`);
}

// Seconds to wait as Retry-After says, by a number or a date; `otherwise` where it says nothing that is to come.
function wait(retryAfter, otherwise) {
  if (/^\d+$/.test(retryAfter)) return Number(retryAfter);
  const left = (new Date(retryAfter) - Date.now()) / 1000;
  return left > 0 ? left : otherwise; // also where it is no date: NaN is not above 0
}

// What an answer of 4xx means for the user.
function refusal(method, status, text) {
  let error;
  try {
    error = JSON.parse(text).error;
  } catch {
    // whatever stands in between may answer with a page
  }
  const { code = status, message = text.slice(0, 200) } = error ?? {};
  // later on the video is paid
  if (status === 402 && method === "POST") return new Problem(`not enough credits: ${message}`, 3);
  if (code === "content_policy_violation") return new Problem(`refused by moderation: ${message}`, 4);
  return new Problem(`${code}: ${message}`);
}

const AUTHORIZED = { Authorization: `Bearer ${process.env.EVOLINK_API_KEY}` };

// The API: an answer without `name` is asked for again.
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

// Tells what remains on the account; nothing where that is not to be had at once, for nobody asked.
async function remain() {
  try {
    const signal = AbortSignal.timeout(60_000);
    const response = await fetch(`${BASE_URL}/v1/credits`, { headers: AUTHORIZED, signal });
    return `, ${Number((await response.json()).data.token.remaining_credits)} remain`;
  } catch {
    return "";
  }
}

// The video that an answer brings.
function video(body) {
  if (!body.length) throw new SyntaxError("an empty video");
  return body;
}

// The task when it is over. Statuses that are new to us count as not over yet.
async function finished(taskId, callbacks) {
  const end = Date.now() + LONGEST * 1000;
  while (Date.now() < end) {
    // a callback may be late, come twice or never: it only ends the pause, so it is listened for before we look
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
  throw new Problem(`task ${taskId} was not over after ${LONGEST} s`);
}

// Receives callbacks. They are not signed, so nothing that they say is used: we ask the service.
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
  await writeFile(part, ""); // what cannot be saved is not ordered
  await rm(part);
  const callbacks = new EventEmitter();
  if (CALLBACK_URL) await listen(callbacks);
  // all tries carry the same key: where a reply was lost, the next one gets the task that exists and pays nothing
  const key = process.env.IDEMPOTENCY_KEY || randomUUID();
  console.error(`ordering under IDEMPOTENCY_KEY=${key}`);
  const created = await api("POST", "/v1/videos/generations", "id", {
    body: { model: "sora-2-beta-max", prompt, ...(CALLBACK_URL && { callback_url: CALLBACK_URL }) },
    headers: { "Idempotency-Key": key },
  });
  console.error(`ordered: ${created.id}`);
  const task = await finished(created.id, callbacks);
  if (task.status === "completed") {
    // a few MB; without our key, for the link is on another host
    await writeFile(part, await ask("GET", task.results[0], video, {}, 600));
    return rename(part, file);
  }
  const { code, message } = task.error ?? { code: task.status, message: "no reason given" };
  const told = `${code}: ${message}; the credits came back${await remain()}`;
  if (code === "content_policy_violation") throw new Problem(`refused by moderation: ${told}`, 4);
  throw new Problem(told);
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
