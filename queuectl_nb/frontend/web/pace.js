// Looks that follow changes at a pace: after each there is a rest, and what changes meanwhile is looked at behind it.

/** Paces the looks of one view. `look()` is called when something has changed; it says when it begins, and how long to rest. */
export class Pace {
  constructor(look) {
    this.look = look;
    this.busy = false; // looking, or resting after it
    this.missed = false; // something changed meanwhile
  }

  /** Take note of a change. */
  changed() {
    if (this.busy) this.missed = true;
    else this.look();
  }

  /** A look begins, and sees all that has changed so far. */
  begin() {
    clearTimeout(this.resting);
    this.busy = true;
    this.missed = false;
  }

  /** Look no more for so many milliseconds. */
  rest(wait) {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.busy = false;
      if (this.missed) this.look();
    }, wait);
  }
}
