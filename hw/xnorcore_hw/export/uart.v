// Plays a host's frames to the core, each when the one before is answered, and compares all answers.
// Written by xnorcore export-verilog.
`timescale 1ns / 1ps

module testbench;
  // Bytes of each file, clock cycles of a bit, and those after which it has hung.
  localparam integer HOST = @host@;
  localparam integer DEVICE = @device@;
  localparam integer DIVISOR = @divisor@;
  localparam integer LIMIT = @limit@;

  // {ends a frame, byte}; each file has a word more than that.
  reg [8:0] host [0:HOST];
  reg [8:0] device [0:DEVICE];

  reg aclk = 0, aresetn = 0, uart_rx = 1;
  wire uart_tx, active, error;

  xnorcore core (
      .aclk(aclk),
      .aresetn(aresetn),
      .uart_rx(uart_rx),
      .uart_tx(uart_tx),
      .active(active),
      .error(error)
  );

  always #5 aclk = ~aclk;

  integer cycle = 0, sent = 0, received = 0, asked = 0, answered = 0, rest = 0;
  integer in_wait = 0, in_bit = 0, out_wait = 0, out_bit = 0;
  reg [9:0] out_bits = 0;
  reg [7:0] in_bits = 0;

  initial begin
    $readmemh("host.hex", host);
    $readmemh("device.hex", device);
  end

  always @(posedge aclk) begin
    cycle <= cycle + 1;
    aresetn <= cycle > 3;

    // To the core: start bit, eight bits, stop bit.
    if (out_wait != 0) out_wait <= out_wait - 1;
    else if (out_bit != 0) begin
      uart_rx <= out_bits[0];
      out_bits <= {1'b1, out_bits[9:1]};
      out_bit <= out_bit - 1;
      out_wait <= DIVISOR - 1;
    end else if (cycle > 100 && sent < HOST && asked == answered) begin
      out_bits <= {1'b1, host[sent][7:0], 1'b0};
      out_bit <= 10;
      if (host[sent][8]) asked <= asked + 1;
      sent <= sent + 1;
    end

    // From the core: each bit is looked at in its middle.
    if (in_wait != 0) in_wait <= in_wait - 1;
    else if (in_bit == 0) begin
      if (cycle > 100 && !uart_tx) begin
        in_bit <= 9;
        in_wait <= DIVISOR + DIVISOR / 2 - 1;
      end
    end else begin
      in_bit <= in_bit - 1;
      in_wait <= in_bit == 1 ? 0 : DIVISOR - 1;
      in_bits <= {uart_tx, in_bits[7:1]};
      if (in_bit == 1) begin
        if (received == DEVICE || !uart_tx || in_bits != device[received][7:0])
          $fatal(1, "FAIL: byte %0d of the answers is %02x", received, in_bits);
        received <= received + 1;
        if (device[received][8]) answered <= answered + 1;
      end
    end

    if (error) $fatal(1, "FAIL: the core dropped a frame");
    // Nothing more may come.
    rest <= sent == HOST && received == DEVICE ? rest + 1 : 0;
    if (rest == 500) begin
      $display("PASS: %0d answers are as they must be", answered);
      $finish;
    end
    if (cycle == LIMIT) $fatal(1, "FAIL: after %0d cycles %0d of %0d bytes", LIMIT, received, DEVICE);
  end
endmodule
