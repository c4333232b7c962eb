// Which place of the batch a sequence has in each step: the lowest that is free when it begins, until it ends.
import { PartKind, type Step, type StepPart } from './types';

export function placesOf(steps: Step[], lanes: number): (StepPart | undefined)[][] {
  const place = new Map<number, number>();
  const taken: (number | undefined)[] = [];
  return steps.map((step) => {
    const running = new Set(step[4].filter((p) => p[1] >= PartKind.Idle).map((p) => p[0]));
    for (const [request, lane] of place) {
      if (running.has(request)) continue;
      place.delete(request);
      taken[lane] = undefined;
    }
    const column: (StepPart | undefined)[] = [];
    for (const part of step[4]) {
      if (part[1] < PartKind.Idle) continue;
      let lane = place.get(part[0]);
      if (lane === undefined) {
        lane = 0;
        while (taken[lane] !== undefined) ++lane;
        taken[lane] = part[0];
        place.set(part[0], lane);
      }
      if (lane < lanes) column[lane] = part;
    }
    return column;
  });
}

// Sequences that compute in the busiest step.
export function mostBusy(steps: Step[]): number {
  return Math.max(0, ...steps.map((s) => s[4].filter((p) => p[1] >= PartKind.Idle).length));
}
