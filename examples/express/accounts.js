// The site's accounts. In memory, as this is an example; yours are in your database, with a unique column for the subscriber.

import { randomUUID } from "node:crypto";

export class Accounts {
  #byId = new Map();
  #bySubscriber = new Map();

  /** The account of a person who was verified just now; a new one for somebody new. Call it after `verified: true` and never before. */
  ofVerified(subscriberId, channel) {
    const known = this.#bySubscriber.get(subscriberId);
    if (known) return known;
    // Not 1, 2, 3: a session that outlives these accounts (in a store, over a restart) must find nobody, rather than somebody else.
    const made = { id: randomUUID(), subscriberId, channel };
    this.#bySubscriber.set(subscriberId, made);
    this.#byId.set(made.id, made);
    return made;
  }

  byId(id) {
    return this.#byId.get(id);
  }
}
