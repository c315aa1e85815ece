// The site's accounts. In memory, as this is an example; yours are in your database, with a unique column for the subscriber.

export class Accounts {
  #bySubscriber = new Map();

  /** The account of a person who was verified just now; a new one for somebody new. Call it after `verified: true` and never before. */
  ofVerified(subscriberId, channel) {
    const known = this.#bySubscriber.get(subscriberId);
    if (known) return known;
    const made = { id: this.#bySubscriber.size + 1, subscriberId, channel };
    this.#bySubscriber.set(subscriberId, made);
    return made;
  }

  byId(id) {
    return [...this.#bySubscriber.values()].find((account) => account.id === id);
  }
}
