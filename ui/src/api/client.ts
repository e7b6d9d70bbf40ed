/** The one way to the server: relative URLs, problems turned into `ApiError`, nothing cached here. */

import type { JsonObject, Problem } from "./types";

export type Query = Record<string, string | number | readonly string[] | null | undefined>;

/** The status of a call that got no answer at all. */
export const UNREACHABLE = 0;

/** What went wrong with a call, in the words of the server where it gave any: what, why, what next. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly hint: string,
    readonly code: string,
    readonly requestId: string,
  ) {
    super(`${title}: ${detail}`);
    this.name = "ApiError";
  }

  get notFound(): boolean {
    return this.status === 404;
  }
}

export function queryString(query: Query): string {
  const out = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") continue;
    if (typeof value === "object") value.forEach((v) => out.append(key, v));
    else out.append(key, String(value));
  }
  const text = out.toString();
  return text && `?${text}`;
}

export function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return call<T>("GET", path + queryString(query), undefined, signal);
}

export function post<T>(path: string, body?: unknown): Promise<T> {
  return call<T>("POST", path, body);
}

export function put<T>(path: string, body: unknown): Promise<T> {
  return call<T>("PUT", path, body);
}

export function remove(path: string): Promise<void> {
  return call<void>("DELETE", path);
}

async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, headers: { accept: "application/json" } };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { accept: "application/json", "content-type": "application/json" };
  }
  const response = await send(`api/${path}`, init);
  if (!response.ok) throw await problemOf(response);
  const text = await response.text();
  try {
    return (text ? JSON.parse(text) : undefined) as T;
  } catch {
    throw unreadable(path, text);
  }
}

async function send(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") throw e;
    const why = "The server did not answer. It may be stopped or restarting, or the network is down.";
    throw new ApiError(UNREACHABLE, "Cannot reach the server", why, "Start it with: legato up", "unreachable", "");
  }
}

async function problemOf(response: Response): Promise<ApiError> {
  const problem = await response
    .json()
    .then((body: unknown) => (typeof body === "object" && body !== null ? (body as Problem) : {}))
    .catch((): Problem => ({}));
  return new ApiError(
    response.status,
    problem.title ?? (response.statusText || `The server answered ${response.status}`),
    problem.detail ?? "It gave no reason.",
    problem.hint ?? "",
    problem.code ?? "",
    problem.request_id ?? response.headers.get("x-request-id") ?? "",
  );
}

function unreadable(path: string, text: string): ApiError {
  const detail = `GET api/${path} gave something that is not JSON, beginning with "${text.slice(0, 40)}".`;
  return new ApiError(502, "Unreadable answer", detail, "Is a proxy in the way? Check: legato doctor", "not_json", "");
}

export function asApiError(e: unknown): ApiError {
  if (e instanceof ApiError) return e;
  return new ApiError(
    -1,
    "Something went wrong in this page",
    e instanceof Error ? e.message : String(e),
    "",
    "ui",
    "",
  );
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
