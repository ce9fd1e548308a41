// What a job writes, followed like `tail -f`.
import { Observable } from "./observable.js";

const KEPT = 1 << 20;
const BLOCK = 1 << 16;

/**
 * One stream of one job; `pieces` are `{offset, text}` in order, `cut` says that the beginning is
 * not kept any more, `ended` that all is there, `merged` that the job writes both streams to one
 * file, `error` why there is no more.
 */
export class Output extends Observable {
  pieces = [];
  cut = false;
  ended = false;
  merged = false;
  error = "";
  #stops = [];

  constructor(stream, system, jobid, name) {
    super();
    Object.assign(this, { stream, system, jobid, name });
  }

  open() {
    this.error = "";
    this.#stops = [
      this.stream.listen((message) => this.#take(message)),
      // The last piece is asked for again: where it begins is known for sure, where it ends is not
      // if some of its bytes were no text.
      this.stream.subscribe(
        () => ({ output: { ...this.#which(), offset: this.pieces.at(-1)?.offset ?? 0 } }),
        (error) => this.#fail(error),
      ),
    ];
    this.changed();
  }

  close() {
    for (const stop of this.#stops) stop();
    this.#stops = [];
  }

  #which() {
    return { system: this.system, jobid: this.jobid, stream: this.name };
  }

  #take(message) {
    if (message.event !== "output") return;
    if (Object.entries(this.#which()).some(([key, value]) => message[key] !== value)) return;
    // told from an earlier place again: after a cut, or because the file became shorter
    this.pieces = this.pieces.filter(({ offset }) => offset < message.offset);
    this.merged = message.merged;
    if (message.data) this.#append({ offset: message.offset, text: message.data });
    if (message.eof) {
      this.ended = true;
      this.close();
    }
    this.changed();
  }

  #append(piece) {
    const [before, last] = this.pieces.slice(-2);
    if (last && before.text.length + last.text.length < BLOCK) {
      this.pieces.splice(-2, 2, { offset: before.offset, text: before.text + last.text });
    }
    this.pieces = [...this.pieces, piece];
    let length = this.pieces.reduce((sum, { text }) => sum + text.length, 0);
    while (length > KEPT && this.pieces.length > 1) {
      length -= this.pieces[0].text.length;
      this.pieces = this.pieces.slice(1);
      this.cut = true;
    }
  }

  #fail(error) {
    this.error = error;
    this.close();
    this.changed();
  }
}
