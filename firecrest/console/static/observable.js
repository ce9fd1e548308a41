/** Something that changes, and those who want to know. */
export class Observable {
  #watchers = new Set();
  #told = false;
  /** Grows with each change. */
  version = 0;

  /** Call `watcher` after changes, once for several at the same time; returns how to stop. */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** To be called by the subclass when it has changed. */
  changed() {
    this.version += 1;
    if (this.#told) return;
    this.#told = true;
    queueMicrotask(() => {
      this.#told = false;
      for (const watcher of [...this.#watchers]) watcher();
    });
  }
}
