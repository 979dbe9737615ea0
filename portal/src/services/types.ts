/** The service's own words, from its OpenAPI document (`npm run generate`). */

import type { components } from "./generated/api.js";

type Schemas = components["schemas"];

/** What runs for a seat right now. */
export type Instance = Schemas["Instance"];
/** `starting`, `running`, `stopped` or `error`. */
export type Status = Schemas["Status"];
/** A workshop with its seats. */
export type Workshop = Schemas["Workshop"];
/** A workshop in numbers. */
export type WorkshopSummary = Schemas["WorkshopSummary"];
/** What became of a whole class. */
export type ClassResult = Schemas["ClassResult"];
/** What became of one seat of a class. */
export type SeatResult = Schemas["SeatResult"];
/** A seat of a class entered a stage. */
export type StageEvent = Schemas["StageEvent"];
/** Problem details (RFC 9457): every error of the service. */
export type Problem = Schemas["Problem"];
/** Whether the service can serve, and which dependency is missing. */
export type Ready = Schemas["Ready"];
/** What a seat may use. */
export type Limits = Schemas["Limits"];

/** News of a class that comes up. */
export type ClassProgress =
  /** A seat entered a stage; `note` says how far it is, when the stage tells. */
  | { readonly kind: "stage"; readonly stage: StageEvent }
  /** A seat is done, well or not. */
  | { readonly kind: "seat"; readonly seat: SeatResult };
