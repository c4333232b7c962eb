// Numbers as people read them. What is absent is a dash.

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : Math.round(value).toLocaleString('en');
}

export function ms(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  if (value < 0) return `−${ms(-value)}`;
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  if (value >= 100) return `${value.toFixed(0)} ms`;
  if (value >= 10) return `${value.toFixed(1)} ms`;
  if (value >= 0.1 || value === 0) return `${value.toFixed(2)} ms`;
  return `${(1000 * value).toFixed(0)} µs`;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    ++unit;
  }
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

export function share(part: number, whole: number): string {
  return whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : '–';
}

export function rate(value: number): string {
  return value >= 100 ? count(value) : value.toFixed(1);
}

export function percentOf(ratio: number | null | undefined): string {
  if (ratio === null || ratio === undefined) return '–';
  const change = 100 * (ratio - 1);
  return `${change >= 0 ? '+' : '−'}${Math.abs(change).toFixed(1)} %`;
}
