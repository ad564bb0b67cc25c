// The camera, frame by frame: each is handed on when the one before is done with, so that none waits in a queue.

const LONGEST = 640; // pixels of a frame's longer side: more would only take time
const WINDOW = 1000; // milliseconds over which frames a second are counted

export class Camera {
  constructor(video) {
    this.video = video;
    this.stream = null;
  }

  get running() {
    return this.stream !== null;
  }

  /** Opens the camera, then calls `show(picture, frames a second)` for each frame until `stop`, or until it fails. */
  async run(show) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("browsers open the camera on localhost and over https alone");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: { ideal: "environment" } } });
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `the camera does not open: ${error.message || error.name}`);
    }
    const [track] = this.stream.getVideoTracks();
    track.onended = () => this.stop();
    try {
      this.video.srcObject = this.stream;
      await this.video.play();
      const times = [];
      while (this.running) {
        await new Promise(requestAnimationFrame);
        const picture = this.frame();
        if (!picture || !this.running) continue;
        times.push(performance.now());
        while (times.length > 2 && times.at(-1) - times[0] > WINDOW) times.shift();
        const pace = times.length > 1 ? (1000 * (times.length - 1)) / (times.at(-1) - times[0]) : null;
        await show(picture, pace);
      }
    } finally {
      this.stop();
    }
  }

  frame() {
    const { videoWidth, videoHeight } = this.video;
    if (!videoWidth) return null;
    const scale = Math.min(1, LONGEST / Math.max(videoWidth, videoHeight));
    const [width, height] = [videoWidth, videoHeight].map((n) => Math.max(1, Math.round(n * scale)));
    this.canvas ??= new OffscreenCanvas(width, height);
    Object.assign(this.canvas, { width, height });
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(this.video, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
  }
}

const REASONS = {
  NotAllowedError: "the camera was not allowed: allow it in the browser's settings of this page",
  NotFoundError: "no camera was found",
  NotReadableError: "the camera is in use by another program",
};
