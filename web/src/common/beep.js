// The machine's bell: a short tone made here, so that the page needs no sound file.

const PITCH_HZ = 660;
const LENGTH_S = 0.12;
/** A guest that rings without end is heard four times a second at most. */
const GAP_S = 0.25;

let audio = null;
let last = -Infinity;

export function beep() {
  audio ??= new AudioContext();
  const now = audio.currentTime;
  if (now - last < GAP_S) return;
  last = now;
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  tone.frequency.value = PITCH_HZ;
  volume.gain.setValueAtTime(0.08, now);
  volume.gain.exponentialRampToValueAtTime(0.001, now + LENGTH_S);
  tone.connect(volume).connect(audio.destination);
  tone.start(now);
  tone.stop(now + LENGTH_S);
}
