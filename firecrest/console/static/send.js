// Bytes to the object store, with progress; what fetch() cannot tell of uploads.
import { ApiError } from "./api.js";

const TRIES = 3;
const FIRST_PAUSE = 500;

/** Send a body by a presigned URL; `progress` is told the bytes sent so far. */
function sendOnce(method, url, body, { progress, signal }) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    const failed = (status, text) => reject(new ApiError(status, text));
    signal.addEventListener("abort", abort);
    request.upload.onprogress = ({ loaded }) => progress(loaded);
    request.onload = () => (request.status >= 200 && request.status < 300
      ? resolve()
      : failed(request.status, `The object store refuses it: ${request.status} ${request.statusText}`));
    request.onerror = () => failed(0, "The object store cannot be reached");
    request.onabort = () => reject(signal.reason);
    request.onloadend = () => signal.removeEventListener("abort", abort);
    request.open(method, url);
    request.send(body);
  });
}

/** The same, again after a while if the connection breaks or the store is not well. */
export async function send(method, url, body, options) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await sendOnce(method, url, body, options);
    } catch (error) {
      const passing = error instanceof ApiError && (error.status === 0 || error.status >= 500);
      if (!passing || tried === TRIES) throw error;
      options.progress(0);
      await pause(FIRST_PAUSE * 2 ** (tried - 1), options.signal);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
