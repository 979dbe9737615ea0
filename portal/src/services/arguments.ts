/** Arguments checked before anything is sent: what ends up in a path must not become another path. */

import { invalid } from "./errors.js";

const WORKSHOP = /^[a-z0-9-]{3,20}$/;

/** The path of a workshop. */
export function workshopPath(workshop: string): string {
  if (typeof workshop !== "string" || !WORKSHOP.test(workshop)) {
    throw invalid(`a workshop's id has 3 to 20 characters of a-z, 0-9 and -; this is ${JSON.stringify(workshop)}`);
  }
  return `/workshops/${workshop}`;
}

/** The path of a seat. */
export function seatPath(workshop: string, seat: number): string {
  return `${workshopPath(workshop)}/seats/${String(seatNumber(seat))}`;
}

/** A seat's number; how many there are is the service's to say. */
export function seatNumber(seat: number): number {
  if (!Number.isSafeInteger(seat) || seat < 1) {
    throw invalid(`a seat is a whole number from 1; this is ${String(seat)}`);
  }
  return seat;
}

/** The seats of a class: so many from 1, or exactly these. */
export function classSeats(seats: number | readonly number[]): number | number[] {
  return Array.isArray(seats) ? (seats as readonly number[]).map(seatNumber) : seatNumber(seats as number);
}

/** A whole number of milliseconds, as a setting. */
export function milliseconds(name: string, value: number): number {
  // What timers of Node.js can count (a 32-bit signed integer).
  if (!Number.isFinite(value) || value < 1 || value > 2_147_483_647) {
    throw invalid(`${name} is milliseconds from 1 to 2147483647; this is ${String(value)}`);
  }
  return Math.ceil(value);
}
