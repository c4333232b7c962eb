// Drawing on canvases in the page's colours.

export type Colour = 'prefill' | 'decode' | 'cached' | 'idle' | 'wait' | 'faint' | 'line' | 'ink' | 'soft' | 'card' | 'bad' | 'accent';

export function colour(canvas: HTMLElement, name: Colour): string {
  return getComputedStyle(canvas).getPropertyValue(`--${name}`).trim();
}

// A context in CSS pixels for a canvas that is `height` of them high.
export function prepare(canvas: HTMLCanvasElement, height: number): { draw: CanvasRenderingContext2D; width: number } {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const w = Math.max(1, Math.round(width * scale));
  const h = Math.max(1, Math.round(height * scale));
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  canvas.style.height = `${height}px`;
  const draw = canvas.getContext('2d')!;
  draw.setTransform(scale, 0, 0, scale, 0, 0);
  draw.clearRect(0, 0, width, height);
  return { draw, width };
}

export function hatched(draw: CanvasRenderingContext2D, x: number, y: number, w: number, h: number, stroke: string) {
  draw.save();
  draw.beginPath();
  draw.rect(x, y, w, h);
  draw.clip();
  draw.strokeStyle = stroke;
  draw.lineWidth = 1;
  draw.beginPath();
  for (let at = x - h + ((((y + h) % 5) + 5) % 5) - (x % 5); at < x + w; at += 5) {
    draw.moveTo(at, y + h);
    draw.lineTo(at + h, y);
  }
  draw.stroke();
  draw.restore();
}

// A hue that stays with a request, apart from its neighbours'.
export function hueOf(request: number): number {
  return (request * 137.508) % 360;
}
export function fillOf(request: number, dark: boolean): string {
  return dark ? `hsl(${hueOf(request)} 52% 62%)` : `hsl(${hueOf(request)} 55% 50%)`;
}
export const isDark = () => document.documentElement.dataset.theme === 'dark';
