// Light or dark: the system's choice until the user makes one.
class Theme {
  dark = $state(window.matchMedia('(prefers-color-scheme: dark)').matches);

  constructor() {
    window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', (e) => this.set(e.matches));
    this.set(this.dark);
  }
  set(dark: boolean) {
    this.dark = dark;
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  }
}
export const theme = new Theme();
