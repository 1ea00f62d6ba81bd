/** Small settings that outlive the page; a browser that refuses storage just forgets them. */
export function remember(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(`tidewire.${key}`);
    else localStorage.setItem(`tidewire.${key}`, value);
  } catch {
    // Private windows may refuse; nothing depends on it.
  }
}

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(`tidewire.${key}`);
  } catch {
    return null;
  }
}
